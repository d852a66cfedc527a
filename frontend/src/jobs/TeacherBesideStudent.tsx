import { SimpleGrid, Table, Text } from "@mantine/core";
import type { Job } from "@/api/client";
import { formatNumber } from "@/common/format";
import { Section } from "@/common/Section";
import { BlockDrawing } from "./BlockDrawing";
import { MEASURES, measured } from "./result";

/** What the job is for: the student's costs and accuracy beside the teacher's. */
export function TeacherBesideStudent({ job }: { job: Job }) {
  const known = MEASURES.filter(({ key }) => measured(job.result, "student", key) !== null);
  const kept = job.result?.blocks;
  return (
    <Section title="Teacher beside student">
      <SimpleGrid cols={{ base: 1, md: 2 }}>
        <Table withTableBorder aria-label="Teacher beside student" horizontalSpacing="xs">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Measure</Table.Th>
              <Table.Th ta="right">Teacher</Table.Th>
              <Table.Th ta="right">Student</Table.Th>
              <Table.Th ta="right">Ratio</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {known.map(({ key, label, format, hasRatio }) => {
              const [teacher, student] = [
                measured(job.result, "teacher", key),
                measured(job.result, "student", key),
              ];
              return (
                <Table.Tr key={key}>
                  <Table.Th scope="row" fw={400}>
                    {label}
                  </Table.Th>
                  <Table.Td ta="right">{format(teacher)}</Table.Td>
                  <Table.Td ta="right" fw={600}>
                    {format(student)}
                  </Table.Td>
                  <Table.Td ta="right">
                    {hasRatio && teacher && student !== null ? formatNumber(student / teacher) : ""}
                  </Table.Td>
                </Table.Tr>
              );
            })}
          </Table.Tbody>
        </Table>
        {Array.isArray(kept) && <BlockDrawing depth={Number(job.teacher.depth)} kept={kept.map(Number)} />}
      </SimpleGrid>
      {job.probe === null && (
        <Text size="sm" c="dimmed">
          How accurate the student is was not measured: the job had no labelled images. Give a new job a probe
          dataset to see it.
        </Text>
      )}
    </Section>
  );
}
