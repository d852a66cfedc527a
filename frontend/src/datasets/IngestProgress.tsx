import { Paper, Progress, Stack, Text } from "@mantine/core";
import type { Dataset } from "@/api/client";
import { formatCount } from "@/common/format";

/** How far the service is that reads the upload; it waits as long as there is no progress. */
export function IngestProgress({ progress }: { progress: Dataset["progress"] }) {
  // One archive is one part: how much of it is read is not known before its end.
  const share = progress && progress.total_parts > 1 ? (100 * progress.parts) / progress.total_parts : null;
  return (
    <Paper withBorder p="md">
      <Stack gap="xs">
        <Text fw={600} role="status">
          {progress ? "Reading the images" : "Waiting for a worker to read the images"}
        </Text>
        <Progress
          value={share ?? (progress ? 100 : 0)}
          striped={share === null}
          animated={progress !== null}
          size="lg"
          aria-label={share === null ? "Progress is not known yet" : "Parts of the upload that are read"}
        />
        {progress && (
          <Text size="sm">
            {formatCount(progress.images)} images taken, {formatCount(progress.skipped)} files left out
            {progress.total_parts > 1 &&
              ` · ${formatCount(progress.parts)} of ${formatCount(progress.total_parts)} parts`}
          </Text>
        )}
        <Text size="sm" c="dimmed">
          Every image is decoded once, and what cannot be read is left out and named. A job may be started
          already: it waits for the images.
        </Text>
      </Stack>
    </Paper>
  );
}
