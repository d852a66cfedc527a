import { Alert, Button, Code, Group, Stack } from "@mantine/core";
import type { ReactNode } from "react";
import { CopyIcon } from "./CopyIcon";

interface Props {
  /** What it is, as in “The new key”. */
  label: string;
  value: string;
  /** What the service keeps of it, and what it is good for. */
  note: string;
  /** How it is used. */
  children: ReactNode;
  onDone: () => void;
}

/** A secret that the service shows this one time. */
export function ShownOnce({ label, value, note, children, onDone }: Props) {
  return (
    <Stack gap="md">
      <Alert color="yellow" title="Keep it now: it is shown this one time">
        {note}
      </Alert>
      <Group gap="xs" wrap="nowrap">
        <Code block flex={1} miw={0} aria-label={label} tabIndex={0} data-secret>
          {value}
        </Code>
        <CopyIcon value={value} label="Copy it" />
      </Group>
      {children}
      <Group justify="flex-end">
        <Button onClick={onDone}>I have kept it</Button>
      </Group>
    </Stack>
  );
}
