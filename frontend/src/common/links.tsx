import {
  ActionIcon,
  type ActionIconProps,
  Anchor,
  type AnchorProps,
  Button,
  type ButtonProps,
} from "@mantine/core";
import { createLink } from "@tanstack/react-router";
import type { ReactNode, Ref } from "react";

interface WithRef {
  ref?: Ref<HTMLAnchorElement>;
  children?: ReactNode;
  "aria-label"?: string;
}

/** A link in a text; underlined, because colour alone does not tell it from the words around it. */
export const LinkAnchor = createLink((props: AnchorProps & WithRef) => (
  <Anchor underline="always" {...props} />
));

/** A link that looks like a button. */
export const LinkButton = createLink((props: ButtonProps & WithRef) => <Button component="a" {...props} />);

/** A link that is a sign alone; its label says where it leads. */
export const LinkIcon = createLink((props: ActionIconProps & WithRef) => (
  <ActionIcon component="a" {...props} />
));
