import { useMemo, useSyncExternalStore } from "react";
import { EventLog, type Told } from "./eventLog";

/** What the job's events have told so far; follows them while the page is shown. */
export function useEventLog(jobId: string): Told & { goOn: () => void } {
  const log = useMemo(() => new EventLog(`/jobs/${encodeURIComponent(jobId)}/events`), [jobId]);
  return { ...useSyncExternalStore(log.subscribe, log.read), goOn: log.goOn };
}
