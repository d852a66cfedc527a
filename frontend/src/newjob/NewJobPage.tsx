import { Alert, Stack, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { mayWrite, SCOPE_WORDS } from "@/account/scopes";
import { jobQuery, meQuery, teachersQuery } from "@/api/queries";
import { ErrorNote } from "@/common/ErrorNote";
import { Loading } from "@/common/Loading";
import { usePageTitle } from "@/common/usePageTitle";
import { emptyDraft, fromJob } from "./draft";
import { JobForm } from "./JobForm";

const route = getRouteApi("/jobs/new");

/** A new job, on a dataset or like an earlier job where the URL names one. */
export function NewJobPage() {
  usePageTitle("New job");
  const { dataset, from } = route.useSearch();
  const teachers = useQuery(teachersQuery);
  const me = useQuery(meQuery);
  const earlier = useQuery({ ...jobQuery(from ?? ""), enabled: from !== undefined, refetchInterval: false });
  const error = teachers.error ?? earlier.error;
  const isReady = teachers.data !== undefined && (from === undefined || earlier.data !== undefined);
  const draft = earlier.data ? fromJob(earlier.data) : emptyDraft();
  return (
    <Stack gap="md">
      <Title order={1}>New job</Title>
      {error && <ErrorNote error={error} />}
      {me.data && !mayWrite(me.data.scope) && (
        <Alert color="yellow" title="This key may only look">
          {SCOPE_WORDS.read.mayNot} Ask whoever runs the service for a key of scope write.
        </Alert>
      )}
      {!isReady && !error && <Loading what="the catalogue of teachers" />}
      {isReady && (
        <JobForm
          key={from ?? dataset ?? ""}
          teachers={teachers.data.data}
          initial={dataset === undefined ? draft : { ...draft, datasetId: dataset }}
        />
      )}
    </Stack>
  );
}
