import { Group, Loader, Text } from "@mantine/core";

/** What is being fetched, for eyes and ears. */
export function Loading({ what }: { what: string }) {
  return (
    <Group gap="xs" role="status" data-loading>
      <Loader size="sm" aria-hidden />
      <Text c="dimmed">Loading {what} …</Text>
    </Group>
  );
}
