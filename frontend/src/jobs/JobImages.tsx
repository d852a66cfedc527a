import { Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { Job } from "@/api/client";
import { ApiError } from "@/api/errors";
import { datasetQuery } from "@/api/queries";
import { ErrorNote } from "@/common/ErrorNote";
import { formatCount } from "@/common/format";
import { LinkAnchor } from "@/common/links";
import { Section } from "@/common/Section";
import { LeftOut } from "@/datasets/LeftOut";

/** What the student was made of, and which files of the upload were not. */
export function JobImages({ job }: { job: Job }) {
  const dataset = useQuery(datasetQuery(job.dataset_id));
  const used = job.result?.images;
  const isGone = dataset.error instanceof ApiError && dataset.error.status === 404;
  return (
    <>
      <Section title="Images">
        {dataset.data && (
          <Text>
            {typeof used === "number" && `${formatCount(used)} of `}
            {formatCount(dataset.data.image_count)} images of{" "}
            <LinkAnchor to="/datasets/$datasetId" params={{ datasetId: job.dataset_id }}>
              {dataset.data.name}
            </LinkAnchor>{" "}
            were used.
          </Text>
        )}
        {isGone && <Text c="dimmed">The images were deleted since.</Text>}
        {dataset.error && !isGone && <ErrorNote error={dataset.error} />}
      </Section>
      {dataset.data && <LeftOut dataset={dataset.data} />}
    </>
  );
}
