import { Button, Group } from "@mantine/core";

interface Props {
  isFirst: boolean;
  next: string | null;
  /** Called with the cursor of the page to show; null is the first one. */
  onMove: (cursor: string | null) => void;
}

/** Moves through a list, newest first. The way back is the browser's. */
export function Pager({ isFirst, next, onMove }: Props) {
  if (isFirst && next === null) return null;
  return (
    <Group component="nav" aria-label="Pages" gap="xs">
      <Button variant="default" size="xs" disabled={isFirst} onClick={() => onMove(null)}>
        Newest
      </Button>
      <Button variant="default" size="xs" disabled={next === null} onClick={() => onMove(next)}>
        Older
      </Button>
    </Group>
  );
}
