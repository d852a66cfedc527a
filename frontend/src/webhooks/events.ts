import type { WebhookEventType } from "@/api/client";

/** When each event is told; one that the service has and this lacks is an error of types. */
const WORDS: Record<WebhookEventType, string> = {
  "job.started": "a worker took a job; again at each further attempt",
  "job.succeeded": "its student can be downloaded",
  "job.failed": "with the code of the error",
  "job.cancelled": "somebody stopped it",
  "dataset.ready": "its images can be used",
  "dataset.failed": "its upload was refused",
};

export const EVENTS = Object.entries(WORDS).map(([type, text]) => ({ type: type as WebhookEventType, text }));

/** Which events an endpoint is told of, in a few words. */
export function eventsInWords(events: readonly string[]): string {
  return events.length === EVENTS.length ? "all events" : events.join(", ");
}
