import { Group, Text } from "@mantine/core";
import type { Dataset } from "@/api/client";
import { DownloadButton } from "@/common/DownloadButton";
import { Section } from "@/common/Section";
import { LeftOutFiles } from "./LeftOutFiles";

/** Every file that is not among the images, with the reason. */
export function LeftOut({ dataset }: { dataset: Dataset }) {
  const [skipped, duplicates] = [dataset.skipped_count ?? 0, dataset.duplicate_count ?? 0];
  return (
    <>
      {skipped === 0 ? (
        <Section title="Files left out">
          <Text c="dimmed">Every file could be read as an image.</Text>
        </Section>
      ) : (
        <LeftOutFiles datasetId={dataset.id} kind="skipped" title="Files left out" count={skipped} />
      )}
      {duplicates > 0 && (
        <LeftOutFiles datasetId={dataset.id} kind="duplicate" title="Duplicates" count={duplicates} />
      )}
      {skipped + duplicates > 0 && (
        <Group>
          <DownloadButton
            url={dataset.links?.left_out_csv ?? ""}
            name={`${dataset.id}-left-out.csv`}
            label="Save all of these as CSV"
          />
        </Group>
      )}
    </>
  );
}
