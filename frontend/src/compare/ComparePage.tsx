import { Button, Group, MultiSelect, Stack, Table, Text, Title } from "@mantine/core";
import { useQueries, useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import type { Job } from "@/api/client";
import { jobQuery, jobsQuery } from "@/api/queries";
import { type Row, toCsv } from "@/common/csv";
import { EmptyState } from "@/common/EmptyState";
import { ErrorNote } from "@/common/ErrorNote";
import { formatShare } from "@/common/format";
import { LinkAnchor } from "@/common/links";
import { saveBlob } from "@/common/saveBlob";
import { eachOnce, useSought } from "@/common/sought";
import { usePageTitle } from "@/common/usePageTitle";
import { WideTable } from "@/common/WideTable";
import { MEASURES, measured } from "@/jobs/result";
import { type Point, Scatter } from "./Scatter";

const route = getRouteApi("/compare");
const COLUMNS = ["id", "name", "teacher", "method", "recipe", "r", "k"] as const;

/** Jobs side by side; which ones is in the address. */
export function ComparePage() {
  usePageTitle("Compare");
  const { jobs: ids = [] } = route.useSearch();
  const navigate = route.useNavigate();
  const [typed, setTyped] = useState("");
  const { name, isSettled } = useSought(typed);
  const finished = useQuery(jobsQuery({ state: "succeeded", name }));
  const chosen = useQueries({ queries: ids.map((id) => jobQuery(id)) });
  const jobs = chosen.map(({ data }) => data).filter((job) => job !== undefined);
  const error = finished.error ?? chosen.find((query) => query.error)?.error;
  const known = eachOnce(jobs, finished.data?.data ?? []);
  return (
    <Stack gap="md">
      <Title order={1}>Compare</Title>
      <MultiSelect
        label="Jobs"
        description="Jobs that succeeded: the newest are offered, others are found by a part of their name. The address of this page keeps your choice."
        placeholder={ids.length === 0 ? "Choose jobs, or type a part of a name" : ""}
        searchable
        searchValue={typed}
        onSearchChange={setTyped}
        data={known.map((job) => ({ value: job.id, label: `${nameOf(job)} (r ${job.r}, k ${job.k})` }))}
        value={ids}
        onChange={(jobs) => navigate({ search: jobs.length > 0 ? { jobs } : {}, replace: true })}
        nothingFoundMessage={
          !isSettled || finished.isPlaceholderData
            ? "Searching …"
            : "No job that succeeded has this in its name."
        }
      />
      {error && <ErrorNote error={error} />}
      {ids.length === 0 && (
        <EmptyState title="Nothing chosen yet">
          Choose jobs that succeeded, for example the same teacher and images with other r and k. Give them
          the same probe, so that their accuracies can be compared.
        </EmptyState>
      )}
      {jobs.length > 0 && <Comparison jobs={jobs} />}
    </Stack>
  );
}

function Comparison({ jobs }: { jobs: Job[] }) {
  const key = jobs.map(({ id }) => id).join();
  // biome-ignore lint/correctness/useExhaustiveDependencies: a job that succeeded changes no more
  const points = useMemo(() => jobs.flatMap(pointsOf), [key]);
  const probes = new Set(jobs.map((job) => job.probe?.dataset_id));
  return (
    <>
      {points.length > 0 && (
        <Scatter
          points={points}
          description={`Accuracy against parameters of ${jobs.length} jobs; the numbers are in the table below.`}
        />
      )}
      {probes.size > 1 && (
        <Text size="sm">
          These jobs were not probed on the same dataset: their accuracies do not compare.
        </Text>
      )}
      <Group>
        <Button variant="default" onClick={() => saveCsv(jobs)}>
          Save as CSV
        </Button>
      </Group>
      <WideTable minWidth="52rem">
        <Table verticalSpacing="xs" aria-label="Jobs side by side">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Job</Table.Th>
              <Table.Th>Teacher</Table.Th>
              <Table.Th>Recipe</Table.Th>
              <Table.Th ta="right">r</Table.Th>
              <Table.Th ta="right">k</Table.Th>
              <Table.Th ta="right">Teacher’s accuracy</Table.Th>
              {MEASURES.map(({ key, label }) => (
                <Table.Th key={key} ta="right">
                  {label}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {jobs.map((job) => (
              <Table.Tr key={job.id}>
                <Table.Td>
                  <LinkAnchor to="/jobs/$jobId" params={{ jobId: job.id }}>
                    {nameOf(job)}
                  </LinkAnchor>
                </Table.Td>
                <Table.Td>{String(job.teacher.name)}</Table.Td>
                <Table.Td>{job.recipe}</Table.Td>
                <Table.Td ta="right">{job.r}</Table.Td>
                <Table.Td ta="right">{job.k}</Table.Td>
                <Table.Td ta="right">
                  {formatShare(measured(job.result, "teacher", "probe_accuracy"))}
                </Table.Td>
                {MEASURES.map(({ key, format }) => (
                  <Table.Td key={key} ta="right">
                    {format(measured(job.result, "student", key))}
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </WideTable>
    </>
  );
}

function nameOf(job: Job): string {
  return job.name ?? job.id;
}

function pointsOf(job: Job): Point[] {
  return (["student", "teacher"] as const).flatMap((role) => {
    const [parameters, accuracy] = [
      measured(job.result, role, "parameters"),
      measured(job.result, role, "probe_accuracy"),
    ];
    if (parameters === null || accuracy === null) return [];
    return [{ parameters, accuracy, isTeacher: role === "teacher" }];
  });
}

function saveCsv(jobs: readonly Job[]): void {
  const sides = (["teacher", "student"] as const).flatMap((role) =>
    MEASURES.map(({ key }) => ({ role, key })),
  );
  const columns = [...COLUMNS, ...sides.map(({ role, key }) => `${role}_${key}`)];
  const rows = jobs.map((job): Row => {
    const { id, name, method, recipe, r, k } = job;
    const costs = sides.map(({ role, key }) => [`${role}_${key}`, measured(job.result, role, key)] as const);
    return {
      id,
      name,
      teacher: String(job.teacher.name),
      method,
      recipe,
      r,
      k,
      ...Object.fromEntries(costs),
    };
  });
  saveBlob(new Blob([toCsv(columns, rows)], { type: "text/csv" }), "jobs.csv");
}
