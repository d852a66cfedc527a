import type { JobEvent } from "@/api/client";

export const LEVELS = ["all", "warnings", "errors"] as const;
export type Level = (typeof LEVELS)[number];

/** What a level shows: itself, and what is worse. */
const SHOWN: Record<Level, ReadonlySet<JobEvent["level"]>> = {
  all: new Set(["info", "warning", "error"]),
  warnings: new Set(["warning", "error"]),
  errors: new Set(["error"]),
};

/** Events that say something, of a level, with every word of the search in them. */
export function filterLog(events: readonly JobEvent[], level: Level, search: string): JobEvent[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return events.filter((event) => {
    if (event.message === "" || !SHOWN[level].has(event.level)) return false;
    const text = lineOf(event).toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** One line of the log, as it is shown and saved. */
export function lineOf({ created_at, level, attempt, message }: JobEvent): string {
  return `${created_at}  attempt ${attempt}  ${level.padEnd(7)}  ${message}`;
}

export function toText(events: readonly JobEvent[]): string {
  return events.map((event) => `${lineOf(event)}\n`).join("");
}

/** The worker that holds the newest attempt, or held it; null before the first. */
export function workerOf(events: readonly JobEvent[]): string | null {
  const attempt = events.findLast(({ type }) => type === "attempt");
  const worker = attempt?.data.worker;
  return typeof worker === "string" ? worker : null;
}
