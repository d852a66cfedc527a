import { Group, Stack, Table, Text } from "@mantine/core";
import { formatBytes, formatCount, formatNumber, formatParameters, formatSeconds } from "@/common/format";
import { BlockDrawing } from "@/jobs/BlockDrawing";
import type { Plan } from "./usePlan";

/** Methods whose students carry adapters while they are trained. */
const WITH_ADAPTERS: ReadonlySet<string> = new Set(["wecolora", "weco-lora-qv"]);

/** What the student will be: its blocks, its costs beside the teacher's, and how long making it will take. */
export function PlannedStudent({ plan, isUpToDate }: { plan: Plan; isUpToDate: boolean }) {
  const { teacher_network: teacher, student_network: student, unknown } = plan;
  const hasAdapters = WITH_ADAPTERS.has(plan.method) && plan.options.epochs !== 0;
  const rows: [string, string, string, string | undefined][] = [
    ["Blocks", formatCount(teacher.depth), formatCount(student.depth), undefined],
    [
      "Parameters",
      formatParameters(teacher.parameters),
      formatParameters(student.parameters),
      unknown["student_network.parameters"],
    ],
    [
      "GMACs an image",
      formatNumber(teacher.gmacs),
      formatNumber(student.gmacs),
      unknown["student_network.gmacs"],
    ],
    [
      "Size",
      formatBytes(teacher.size_bytes),
      formatBytes(student.size_bytes),
      unknown["student_network.size_bytes"],
    ],
  ];
  return (
    <Stack gap="sm" aria-busy={!isUpToDate} data-plan={isUpToDate ? "current" : "stale"}>
      <BlockDrawing
        depth={teacher.depth}
        kept={student.blocks}
        isFinal={student.blocks_are_final}
        {...(hasAdapters && { loraRank: plan.k })}
      />
      <Table aria-label="The student beside its teacher" verticalSpacing={4}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Measure</Table.Th>
            <Table.Th ta="right">Teacher</Table.Th>
            <Table.Th ta="right">Student</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.map(([name, ofTeacher, ofStudent, reason]) => (
            <Table.Tr key={name}>
              <Table.Th scope="row" fw={400}>
                {name}
              </Table.Th>
              <Table.Td ta="right">{ofTeacher}</Table.Td>
              <Table.Td ta="right">
                {reason === undefined ? (
                  <b>{ofStudent}</b>
                ) : (
                  <Text span size="xs" c="dimmed">
                    {reason}
                  </Text>
                )}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Group component="dl" gap="lg" m={0} align="flex-start">
        <Fact
          name="Trained numbers"
          value={formatParameters(student.trainable_parameters)}
          reason={unknown["student_network.trainable_parameters"]}
        />
        <Fact name="Images used" value={formatCount(plan.images)} reason={unknown.images} />
        <Fact name="Steps" value={formatCount(plan.steps)} reason={unknown.steps} />
        <Fact
          name="Estimated time"
          value={plan.duration ? formatSeconds(plan.duration.seconds) : "–"}
          reason={
            plan.duration
              ? `on ${plan.duration.device_name}, by ${plan.duration.jobs} finished ${plan.duration.jobs === 1 ? "job" : "jobs"}`
              : unknown.duration
          }
        />
        <Fact
          name="Memory on a device"
          value={formatBytes(plan.device_bytes)}
          reason={unknown.device_bytes ?? "about; at small micro-batches"}
        />
      </Group>
    </Stack>
  );
}

function Fact({ name, value, reason }: { name: string; value: string; reason?: string | undefined }) {
  return (
    <div>
      <Text component="dt" size="xs" c="dimmed">
        {name}
      </Text>
      <Text component="dd" size="sm" m={0} maw="14rem">
        {value}
        {reason !== undefined && (
          <Text span size="xs" c="dimmed" display="block">
            {reason}
          </Text>
        )}
      </Text>
    </div>
  );
}
