import { Group, Paper, Progress, Stack, Text } from "@mantine/core";
import type { Job } from "@/api/client";
import { formatAge, formatCount, formatNumber, formatSeconds, secondsBetween } from "@/common/format";
import { useNow } from "@/common/useNow";
import { progressOf } from "./progress";

/** How far a job is that has not ended: what it does, how long it will take, and when it was last heard of. */
export function RunningProgress({ job, worker }: { job: Job; worker: string | null }) {
  const now = useNow(1000);
  const progress = progressOf(job);
  const share = progress && progress.total_steps > 0 ? progress.step / progress.total_steps : null;
  return (
    <Paper withBorder p="md">
      <Stack gap="xs">
        <Group justify="space-between" gap="xs">
          <Text fw={600}>{headline(job)}</Text>
          <Text c="dimmed">{progress && timeLeft(progress.seconds_left)}</Text>
        </Group>
        <Progress
          value={share !== null ? 100 * share : job.state === "running" ? 100 : 0}
          animated={job.state === "running"}
          striped={share === null}
          color={job.state === "running" ? "accent" : "gray"}
          aria-label={share === null ? "Progress is not known yet" : "Progress of the phase"}
          size="lg"
        />
        <Group gap="lg">
          {progress && (
            <Fact name={progress.activity === "distilling" ? "Step" : "Done"}>
              {formatCount(progress.step)} of {formatCount(progress.total_steps)}
            </Fact>
          )}
          {progress?.images_per_second != null && (
            <Fact name="Images a second">{formatNumber(progress.images_per_second)}</Fact>
          )}
          {job.attempt > 0 && <Fact name="Attempt">{job.attempt}</Fact>}
          {worker !== null && job.state === "running" && <Fact name="Worker">{worker}</Fact>}
          {job.started_at && (
            <Fact name="Running for">{formatSeconds(secondsBetween(job.started_at, null, now))}</Fact>
          )}
          {job.heartbeat_at && job.state === "running" && (
            <Fact name="Worker last heard of">{formatAge(job.heartbeat_at, now)}</Fact>
          )}
        </Group>
      </Stack>
    </Paper>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <Text size="sm">
      <Text span c="dimmed" inherit>
        {name}:
      </Text>{" "}
      {children}
    </Text>
  );
}

function headline(job: Job): string {
  if (job.cancel_requested_at !== null) return "Stopping";
  if (job.state === "queued") {
    return job.attempt === 0 ? "Waiting for its images or a worker" : "Waiting for a worker to go on";
  }
  return job.phase === null ? "Starting" : job.phase.charAt(0).toUpperCase() + job.phase.slice(1);
}

function timeLeft(seconds: number | null): string {
  return seconds === null ? "" : `about ${formatSeconds(Math.ceil(seconds))} left in this phase`;
}
