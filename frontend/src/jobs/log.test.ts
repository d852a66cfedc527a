import { expect, test } from "vitest";
import type { JobEvent } from "@/api/client";
import { filterLog, toText, workerOf } from "./log";

const event = (seq: number, level: JobEvent["level"], message: string): JobEvent => ({
  seq,
  created_at: `2026-01-01T00:00:0${seq}Z`,
  level,
  type: "log",
  message,
  data: {},
  attempt: 1,
});

const events = [
  event(1, "info", "Resuming from step 40."),
  event(2, "warning", "Out of memory with batches of 64; trying 32."),
  event(3, "info", ""),
  event(4, "error", "The job failed."),
];

test.each([
  ["all", "", [1, 2, 4]],
  ["warnings", "", [2, 4]],
  ["errors", "", [4]],
  ["all", "MEMORY 32", [2]],
  ["errors", "memory", []],
  ["all", "00:00:01", [1]],
] as const)("level %s and search %j show the events %j", (level, search, shown) => {
  expect(filterLog(events, level, search).map(({ seq }) => seq)).toEqual(shown);
});

test("a saved log has a line for each event", () => {
  expect(toText(events.slice(0, 2))).toBe(
    "2026-01-01T00:00:01Z  attempt 1  info     Resuming from step 40.\n" +
      "2026-01-01T00:00:02Z  attempt 1  warning  Out of memory with batches of 64; trying 32.\n",
  );
});

test("the worker is that of the newest attempt", () => {
  const attempt = (seq: number, worker: string): JobEvent => ({
    ...event(seq, "info", ""),
    type: "attempt",
    data: { worker },
  });
  expect(workerOf(events)).toBeNull();
  expect(workerOf([attempt(1, "a"), ...events, attempt(5, "b")])).toBe("b");
});
