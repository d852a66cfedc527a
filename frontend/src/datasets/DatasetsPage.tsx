import { Group, Stack, Table, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import type { Dataset, DatasetState } from "@/api/client";
import { datasetsQuery } from "@/api/queries";
import { EmptyState } from "@/common/EmptyState";
import { formatAge, formatBytes, formatCount, formatMoment } from "@/common/format";
import { ListFilter } from "@/common/ListFilter";
import { Listing } from "@/common/Listing";
import { StateBadge } from "@/common/StateBadge";
import { useNow } from "@/common/useNow";
import { usePageTitle } from "@/common/usePageTitle";
import { WideTable } from "@/common/WideTable";
import { UploadButtons } from "./UploadButtons";

const route = getRouteApi("/datasets");
const STATES: DatasetState[] = ["uploading", "ingesting", "ready", "failed"];

export function DatasetsPage() {
  usePageTitle("Datasets");
  const search = route.useSearch();
  const { cursor, ...filter } = search;
  const navigate = route.useNavigate();
  const datasets = useQuery(datasetsQuery(search));
  return (
    <Stack gap="md">
      <Group justify="space-between" align="flex-end">
        <Title order={1}>Datasets</Title>
        <Group gap="xs">
          <UploadButtons />
          <ListFilter
            what="datasets"
            states={STATES}
            value={search}
            onChange={(filter) => navigate({ search: filter, replace: true })}
          />
        </Group>
      </Group>
      <Listing
        query={datasets}
        what="the datasets"
        cursor={cursor}
        onMove={(to) => navigate({ search: { ...filter, ...(to && { cursor: to }) } })}
        empty={Object.keys(search).length > 0 ? <Text>No dataset fits.</Text> : <NoDatasets />}
      >
        {(rows) => (
          <>
            <Text size="sm" c="dimmed">
              Drop images, a folder of them, or archives anywhere on the page to make another one.
            </Text>
            <DatasetTable datasets={rows} />
          </>
        )}
      </Listing>
    </Stack>
  );
}

function DatasetTable({ datasets }: { datasets: Dataset[] }) {
  const now = useNow(1000);
  return (
    <WideTable minWidth="40rem">
      <Table highlightOnHover verticalSpacing="xs" aria-label="Datasets, newest first">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Dataset</Table.Th>
            <Table.Th>State</Table.Th>
            <Table.Th ta="right">Images</Table.Th>
            <Table.Th ta="right">Left out</Table.Th>
            <Table.Th ta="right">Classes</Table.Th>
            <Table.Th ta="right">Size</Table.Th>
            <Table.Th>Created</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {datasets.map((dataset) => (
            <Table.Tr key={dataset.id}>
              <Table.Td maw="20rem" className="cut">
                <Link to="/datasets/$datasetId" params={{ datasetId: dataset.id }} className="row-link">
                  {dataset.name}
                </Link>
              </Table.Td>
              <Table.Td>
                <StateBadge state={dataset.state} />
              </Table.Td>
              <Table.Td ta="right">{formatCount(dataset.image_count)}</Table.Td>
              <Table.Td ta="right">{formatCount(dataset.skipped_count)}</Table.Td>
              <Table.Td ta="right">{formatCount(dataset.class_names?.length)}</Table.Td>
              <Table.Td ta="right">{formatBytes(dataset.size_bytes)}</Table.Td>
              <Table.Td title={formatMoment(dataset.created_at)}>
                {formatAge(dataset.created_at, now)}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </WideTable>
  );
}

function NoDatasets() {
  return (
    <EmptyState title="No images yet">
      <Text>
        Drop a folder of images anywhere on this page, or archives (zip, tar, tar.gz), or thousands of files
        at once. A few hundred unlabelled images are enough to distil a student; 100,000 are fine, too.
      </Text>
      <Text>
        They are packed into parts and sent side by side. An upload can be paused, and goes on where it was
        when you drop the same folder again, also after the tab was closed. What cannot be read as an image is
        left out and named, with the reason.
      </Text>
      <Text>
        For a probe, which measures how good the student is, images lie in one folder a class, such as{" "}
        <span className="mono">train/cat/1.jpg</span>.
      </Text>
    </EmptyState>
  );
}
