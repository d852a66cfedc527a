import { Badge, type BadgeProps } from "@mantine/core";
import type { ComponentPropsWithoutRef } from "react";

interface Props extends BadgeProps, Omit<ComponentPropsWithoutRef<"div">, keyof BadgeProps> {
  /** One of the theme's: accent, bad, good, idle, warning. */
  tone: string;
}

/** A word in an outline of its tone. */
export function ToneBadge({ tone, ...others }: Props) {
  return (
    <Badge
      variant="outline"
      color={`var(--tone-${tone})`}
      tt="none"
      radius="sm"
      miw="max-content"
      {...others}
    />
  );
}
