import { Button, Group, Stack } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { api, bodyOf, type Job } from "@/api/client";
import { ENDED, jobQuery } from "@/api/queries";
import { ConfirmButton } from "@/common/ConfirmButton";
import { ErrorNote } from "@/common/ErrorNote";
import { LinkButton } from "@/common/links";

interface Props {
  job: Job;
  /** Called when the job waits again: its events go on. */
  onRetried: () => void;
}

/** What can be done with a job, in the state it is in. */
export function JobActions({ job, onRetried }: Props) {
  const queryClient = useQueryClient();
  const navigate = useNavigate();
  const path = { params: { path: { job_id: job.id } } };
  const show = (answer: Job) => queryClient.setQueryData(jobQuery(job.id).queryKey, answer);
  const cancel = useMutation({
    mutationFn: () => bodyOf(api.POST("/jobs/{job_id}/cancel", path)),
    onSuccess: show,
  });
  const retry = useMutation({
    mutationFn: () => bodyOf(api.POST("/jobs/{job_id}/retry", path)),
    onSuccess: (answer) => {
      show(answer);
      onRetried();
    },
  });
  const remove = useMutation({
    mutationFn: () => api.DELETE("/jobs/{job_id}", path),
    onSuccess: async () => {
      await navigate({ to: "/jobs" });
      queryClient.removeQueries({ queryKey: ["jobs", job.id] });
      await queryClient.invalidateQueries({ queryKey: ["jobs"] });
    },
  });
  const error = cancel.error ?? retry.error ?? remove.error;
  const hasEnded = ENDED.has(job.state);
  return (
    <Stack gap="xs">
      <Group gap="xs">
        {(job.state === "failed" || job.state === "cancelled") && (
          <Button loading={retry.isPending} onClick={() => retry.mutate()}>
            Try again
          </Button>
        )}
        <LinkButton to="/jobs/new" search={{ from: job.id }} variant="default">
          New job like this
        </LinkButton>
        {!hasEnded && job.cancel_requested_at === null && (
          <ConfirmButton
            label="Cancel the job"
            question="Cancel this job?"
            isPending={cancel.isPending}
            onConfirm={() => cancel.mutate()}
          >
            The training stops and nothing can be downloaded. The images stay.
          </ConfirmButton>
        )}
        {hasEnded && (
          <ConfirmButton
            label="Delete the job"
            question="Delete this job?"
            isPending={remove.isPending}
            onConfirm={() => remove.mutate()}
          >
            Its events and its files, the student among them, are removed for good. The images stay.
          </ConfirmButton>
        )}
      </Group>
      {error && <ErrorNote error={error} />}
    </Stack>
  );
}
