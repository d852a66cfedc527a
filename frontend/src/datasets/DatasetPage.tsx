import { Alert, Group, Paper, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import type { Dataset } from "@/api/client";
import { datasetQuery, partsQuery } from "@/api/queries";
import { ErrorNote } from "@/common/ErrorNote";
import { formatBytes, formatCount, formatMoment } from "@/common/format";
import { Loading } from "@/common/Loading";
import { StateBadge } from "@/common/StateBadge";
import { usePageTitle } from "@/common/usePageTitle";
import { ContactSheet } from "./ContactSheet";
import { DatasetActions } from "./DatasetActions";
import { IngestProgress } from "./IngestProgress";
import { LeftOut } from "./LeftOut";
import { Classes, Statistics } from "./Statistics";
import { UploadButtons } from "./UploadButtons";
import { isActive, useUploads } from "./upload/uploads";

const route = getRouteApi("/datasets/$datasetId");

export function DatasetPage() {
  const { datasetId } = route.useParams();
  const dataset = useQuery(datasetQuery(datasetId));
  usePageTitle(dataset.data?.name ?? datasetId);
  if (dataset.data !== undefined) return <DatasetView dataset={dataset.data} />;
  if (dataset.error) return <ErrorNote error={dataset.error} />;
  return <Loading what="the dataset" />;
}

function DatasetView({ dataset }: { dataset: Dataset }) {
  return (
    <Stack gap="lg">
      <Stack gap="xs">
        <Group justify="space-between">
          <Group gap="sm">
            <Title order={1}>{dataset.name}</Title>
            <StateBadge state={dataset.state} />
          </Group>
          <DatasetActions dataset={dataset} />
        </Group>
        <Text size="sm" c="dimmed" className="wrap">
          <span className="mono">{dataset.id}</span> · created {formatMoment(dataset.created_at)}
        </Text>
      </Stack>
      <DatasetBody dataset={dataset} />
    </Stack>
  );
}

function DatasetBody({ dataset }: { dataset: Dataset }) {
  switch (dataset.state) {
    case "uploading":
      return <Interrupted dataset={dataset} />;
    case "ingesting":
      return <IngestProgress progress={dataset.progress} />;
    case "failed":
      return (
        <Alert
          color="red"
          icon={<IconAlertTriangle />}
          title={`The upload was refused: ${dataset.error?.code}`}
        >
          <Text className="wrap">{dataset.error?.message}</Text>
          <Text size="sm" mt="xs">
            Mend it and drop the images again: a new dataset takes this one’s place.
          </Text>
        </Alert>
      );
    case "ready":
      return <Ready dataset={dataset} />;
    default:
      return dataset.state satisfies never;
  }
}

/** A dataset whose upload is under way in this tab, or was interrupted. */
function Interrupted({ dataset }: { dataset: Dataset }) {
  const parts = useQuery(partsQuery(dataset.id));
  const isUnderWay = useUploads().some((upload) => upload.datasetId === dataset.id && isActive(upload));
  if (isUnderWay) return <Text>The upload is under way in this tab; see below.</Text>;
  const arrived = parts.data?.data ?? [];
  return (
    <Paper withBorder p="md">
      <Stack gap="sm">
        <Title order={2}>This upload is not complete</Title>
        <Text>
          {formatCount(arrived.length)} parts have arrived,{" "}
          {formatBytes(arrived.reduce((sum, part) => sum + part.size_bytes, 0))}. It may be under way in
          another tab or program. If it was interrupted, drop the same folder here, or choose it: only what is
          missing is sent.
        </Text>
        <UploadButtons />
        {parts.error && <ErrorNote error={parts.error} />}
      </Stack>
    </Paper>
  );
}

function Ready({ dataset }: { dataset: Dataset }) {
  return (
    <>
      <SimpleGrid cols={{ base: 2, sm: 3, lg: 6 }}>
        <Figure name="Images">{formatCount(dataset.image_count)}</Figure>
        <Figure name="Size">{formatBytes(dataset.size_bytes)}</Figure>
        <Figure name="Left out">{formatCount(dataset.skipped_count)}</Figure>
        <Figure name="Duplicates dropped">{formatCount(dataset.duplicate_count)}</Figure>
        <Figure name="Width, pixels">{rangeOf(dataset.statistics?.width)}</Figure>
        <Figure name="Height, pixels">{rangeOf(dataset.statistics?.height)}</Figure>
      </SimpleGrid>
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="xl">
        {dataset.contact_sheet && <ContactSheet dataset={dataset} layout={dataset.contact_sheet} />}
        {dataset.statistics && <Statistics statistics={dataset.statistics} />}
      </SimpleGrid>
      {dataset.class_names && (
        <Classes
          names={dataset.class_names}
          counts={dataset.statistics?.class_counts ?? null}
          splits={dataset.splits}
        />
      )}
      <LeftOut dataset={dataset} />
    </>
  );
}

function Figure({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <Paper withBorder p="sm">
      <Text size="sm" c="dimmed">
        {name}
      </Text>
      <Text fw={650} size="lg">
        {children}
      </Text>
    </Paper>
  );
}

function rangeOf(range: NonNullable<Dataset["statistics"]>["width"] | undefined): string {
  if (range === undefined) return "–";
  return range.min === range.max ? `${range.min}` : `${range.min} to ${range.max}, median ${range.median}`;
}
