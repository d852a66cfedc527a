import { Group, Stack, Text, Title } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useEffect } from "react";
import type { Job } from "@/api/client";
import { ENDED, jobQuery } from "@/api/queries";
import { ErrorNote } from "@/common/ErrorNote";
import { formatMoment } from "@/common/format";
import { Loading } from "@/common/Loading";
import { LinkAnchor } from "@/common/links";
import { Section } from "@/common/Section";
import { StateBadge } from "@/common/StateBadge";
import { ToneBadge } from "@/common/ToneBadge";
import { usePageTitle } from "@/common/usePageTitle";
import { EventList } from "./EventList";
import type { StreamState } from "./eventLog";
import { Failure } from "./Failure";
import { JobActions } from "./JobActions";
import { JobImages } from "./JobImages";
import { LogView } from "./LogView";
import { workerOf } from "./log";
import { OptionTable } from "./OptionTable";
import { PhaseList } from "./PhaseList";
import { RunningProgress } from "./RunningProgress";
import { StudentFiles } from "./StudentFiles";
import { TeacherBesideStudent } from "./TeacherBesideStudent";
import { TrainingCurves } from "./TrainingCurves";
import { useEventLog } from "./useEventLog";

const route = getRouteApi("/jobs/$jobId");

export function JobPage() {
  const { jobId } = route.useParams();
  const job = useQuery(jobQuery(jobId));
  usePageTitle(job.data?.name ?? jobId);
  if (job.data !== undefined) return <JobView key={jobId} job={job.data} />;
  if (job.error) return <ErrorNote error={job.error} />;
  return <Loading what="the job" />;
}

function JobView({ job }: { job: Job }) {
  const told = useEventLog(job.id);
  const queryClient = useQueryClient();
  // The row is what counts; an event only says that it has changed.
  useEffect(() => {
    if (told.changes > 0) void queryClient.invalidateQueries({ queryKey: ["jobs", job.id] });
  }, [told.changes, job.id, queryClient]);
  const isTraining = job.options.epochs !== 0;
  return (
    <Stack gap="lg">
      <Heading job={job} stream={told.stream} worker={workerOf(told.events)} onRetried={told.goOn} />
      {job.error && <Failure error={job.error} />}
      {job.state === "succeeded" && <TeacherBesideStudent job={job} />}
      {job.state === "succeeded" && <StudentFiles job={job} />}
      {!ENDED.has(job.state) && <RunningProgress job={job} worker={workerOf(told.events)} />}
      <Section title="Phases">
        <PhaseList job={job} events={told.events} />
      </Section>
      {isTraining && (
        <Section title="Training">
          <TrainingCurves curves={told.curves} />
        </Section>
      )}
      {job.state === "succeeded" && <JobImages job={job} />}
      <Section title="Log">
        <LogView jobId={job.id} events={told.events} />
      </Section>
      <Section title="Events">
        <EventList events={told.events} />
      </Section>
      <Section title="Options">
        <OptionTable job={job} />
      </Section>
    </Stack>
  );
}

interface HeadingProps {
  job: Job;
  stream: StreamState;
  /** Of the newest attempt. */
  worker: string | null;
  onRetried: () => void;
}

function Heading({ job, stream, worker, onRetried }: HeadingProps) {
  return (
    <Stack gap="xs">
      <Group justify="space-between" align="flex-start" gap="sm">
        <Group gap="sm" align="center">
          <Title order={1}>{job.name ?? job.id}</Title>
          <StateBadge state={job.state} />
          {job.cancel_requested_at && !ENDED.has(job.state) && (
            <ToneBadge tone="warning">cancel requested</ToneBadge>
          )}
          {stream === "lost" && (
            <ToneBadge tone="warning" role="status">
              events: connecting again
            </ToneBadge>
          )}
        </Group>
        <JobActions job={job} onRetried={onRetried} />
      </Group>
      <Text size="sm" c="dimmed" className="wrap">
        {String(job.teacher.name)} · r {job.r} · k {job.k} · {job.method}, recipe {job.recipe} · images{" "}
        <LinkAnchor to="/datasets/$datasetId" params={{ datasetId: job.dataset_id }}>
          {job.dataset_id}
        </LinkAnchor>{" "}
        · created {formatMoment(job.created_at)}
        {ENDED.has(job.state) && job.attempt > 0 && ` · attempt ${job.attempt}`}
        {ENDED.has(job.state) && worker !== null && ` by ${worker}`}
      </Text>
    </Stack>
  );
}
