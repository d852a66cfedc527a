import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { fetchFromApi } from "@/api/client";
import type { components } from "@/api/schema";
import { type Draft, toBody } from "./draft";
import type { OptionField } from "./options";

/** What a job would come to, as the service counts it. */
export type Plan = components["schemas"]["DryRun"];

const PAUSE_MS = 150;

/** Asks the service what the form's job would come to, a moment after the last change; also what it would refuse. */
export function usePlan(draft: Draft, fields: readonly OptionField[] | undefined) {
  const body = JSON.stringify({ ...toBody(draft, fields ?? []), dataset_id: draft.datasetId ?? undefined });
  const [settled] = useDebouncedValue(body, PAUSE_MS);
  const query = useQuery({
    queryKey: ["plan", settled],
    queryFn: async ({ signal }): Promise<Plan> => {
      const headers = { "Content-Type": "application/json" };
      const url = "/jobs?dry_run=true";
      return (await fetchFromApi(url, { method: "POST", headers, body: settled, signal })).json();
    },
    // What was settled before the teacher was chosen is no question yet.
    enabled: draft.teacher !== null && fields !== undefined && settled === body,
    placeholderData: keepPreviousData,
  });
  return { ...query, isUpToDate: settled === body && !query.isPlaceholderData && !query.isFetching };
}
