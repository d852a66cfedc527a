import { Box, Group, Paper, Text } from "@mantine/core";
import type { Job, JobEvent, Phase } from "@/api/client";
import { ENDED } from "@/api/queries";
import { formatSeconds } from "@/common/format";
import { useNow } from "@/common/useNow";
import { phaseSeconds } from "./phases";

const PHASES: readonly Phase[] = [
  "fetching",
  "preparing",
  "distilling",
  "merging",
  "probing",
  "exporting",
  "publishing",
];

/** The phases of the newest attempt in order, with how long each took. */
export function PhaseList({ job, events }: { job: Job; events: readonly JobEvent[] }) {
  const isOver = ENDED.has(job.state);
  const now = useNow(1000);
  const spent = phaseSeconds(events, now);
  const skipped: Partial<Record<Phase, boolean>> = {
    distilling: job.options.epochs === 0,
    probing: job.probe === null,
  };
  const shown = PHASES.filter((phase) => !skipped[phase] || spent.has(phase));
  return (
    <Group component="ol" gap="xs" p={0} m={0} style={{ listStyle: "none" }}>
      {shown.map((phase) => {
        const isCurrent = !isOver && job.phase === phase;
        return (
          <Paper
            component="li"
            key={phase}
            withBorder
            px="sm"
            py={6}
            aria-current={isCurrent ? "step" : undefined}
            style={isCurrent ? { borderColor: "var(--tone-accent)", borderWidth: 2 } : {}}
          >
            <Text
              size="sm"
              fw={isCurrent ? 700 : 400}
              c={spent.has(phase) || isCurrent ? undefined : "dimmed"}
            >
              {phase}
            </Text>
            <Box mih="1.2em">
              <Text size="xs" c="dimmed">
                {spent.has(phase) ? formatSeconds(spent.get(phase)) : isOver ? "not reached" : "not yet"}
              </Text>
            </Box>
          </Paper>
        );
      })}
    </Group>
  );
}
