import { Group, Stack, Table, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import type { Job, JobState } from "@/api/client";
import { jobsQuery } from "@/api/queries";
import { EmptyState } from "@/common/EmptyState";
import { formatAge, formatMoment, formatSeconds, secondsBetween } from "@/common/format";
import { ListFilter } from "@/common/ListFilter";
import { Listing } from "@/common/Listing";
import { LinkAnchor, LinkButton } from "@/common/links";
import { StateBadge } from "@/common/StateBadge";
import { useNow } from "@/common/useNow";
import { usePageTitle } from "@/common/usePageTitle";
import { WideTable } from "@/common/WideTable";
import { shareDone } from "./progress";
import { accuracyOf } from "./result";

const route = getRouteApi("/jobs");
const STATES: JobState[] = ["queued", "running", "succeeded", "failed", "cancelled"];

export function JobsPage() {
  usePageTitle("Jobs");
  const search = route.useSearch();
  const { cursor, ...filter } = search;
  const navigate = route.useNavigate();
  const jobs = useQuery(jobsQuery(search));
  return (
    <Stack gap="md">
      <Group justify="space-between" align="flex-end">
        <Title order={1}>Jobs</Title>
        <ListFilter
          what="jobs"
          states={STATES}
          value={search}
          onChange={(filter) => navigate({ search: filter, replace: true })}
        />
      </Group>
      <Listing
        query={jobs}
        what="the jobs"
        cursor={cursor}
        onMove={(to) => navigate({ search: { ...filter, ...(to && { cursor: to }) } })}
        empty={<NoJobs isFiltered={Object.keys(search).length > 0} />}
      >
        {(rows) => <JobTable jobs={rows} />}
      </Listing>
    </Stack>
  );
}

function JobTable({ jobs }: { jobs: Job[] }) {
  const now = useNow(1000);
  return (
    <WideTable minWidth="58rem">
      <Table highlightOnHover verticalSpacing="xs" aria-label="Jobs, newest first">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Job</Table.Th>
            <Table.Th>State</Table.Th>
            <Table.Th>Teacher</Table.Th>
            <Table.Th>r</Table.Th>
            <Table.Th>k</Table.Th>
            <Table.Th>Student’s accuracy</Table.Th>
            <Table.Th>Time</Table.Th>
            <Table.Th>Created</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {jobs.map((job) => (
            <Table.Tr key={job.id}>
              <Table.Td maw="18rem" className="cut">
                <Link to="/jobs/$jobId" params={{ jobId: job.id }} className="row-link">
                  {job.name ?? job.id}
                </Link>
              </Table.Td>
              <Table.Td>
                <Group gap="xs" wrap="nowrap">
                  <StateBadge state={job.state} />
                  <Text size="sm" c="dimmed">
                    {job.phase} {shareDone(job)}
                  </Text>
                </Group>
              </Table.Td>
              <Table.Td maw="20rem" className="cut" title={String(job.teacher.name)}>
                {String(job.teacher.name)}
              </Table.Td>
              <Table.Td>{job.r}</Table.Td>
              <Table.Td>{job.k}</Table.Td>
              <Table.Td>{accuracyOf(job.result, "student")}</Table.Td>
              <Table.Td>{formatSeconds(secondsBetween(job.started_at, job.finished_at, now))}</Table.Td>
              <Table.Td title={formatMoment(job.created_at)}>{formatAge(job.created_at, now)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </WideTable>
  );
}

function NoJobs({ isFiltered }: { isFiltered: boolean }) {
  if (isFiltered) return <Text>No job fits.</Text>;
  return (
    <EmptyState title="No jobs yet">
      <Text>
        A job makes a student of a fraction of a vision transformer’s depth: it copies one block of r of the
        teacher, trains low-rank adapters until the student’s tokens match the teacher’s on your images, and
        merges them. It needs no labels.
      </Text>
      <Text>
        First drop a folder of images anywhere on this page; a few hundred are enough. Then{" "}
        <LinkAnchor to="/jobs/new">start a job</LinkAnchor> on them.
      </Text>
      <Group>
        <LinkButton to="/datasets" variant="default">
          Upload images
        </LinkButton>
      </Group>
    </EmptyState>
  );
}
