import { expect, test } from "vitest";
import type { JobEvent } from "@/api/client";
import { phaseSeconds } from "./phases";

const event = (second: number, type: JobEvent["type"], data: Record<string, unknown>): JobEvent => ({
  seq: second + 1,
  created_at: new Date(second * 1000).toISOString(),
  level: "info",
  type,
  message: "",
  data,
  attempt: 1,
});

const running = [
  event(0, "state", { state: "running" }),
  event(0, "attempt", { attempt: 1 }),
  event(1, "phase", { phase: "fetching" }),
  event(3, "phase", { phase: "distilling" }),
];

test("the phase that runs is timed until now, those before until the next one", () => {
  expect([...phaseSeconds(running, 10_000)]).toEqual([
    ["fetching", 2],
    ["distilling", 7],
  ]);
});

test("the end of a job ends its phase", () => {
  const ended = [...running, event(8, "state", { state: "succeeded" })];
  expect(phaseSeconds(ended, 99_000).get("distilling")).toBe(5);
});

test("a new attempt is timed for itself", () => {
  const again = [
    ...running,
    event(5, "state", { state: "queued" }),
    event(6, "attempt", { attempt: 2 }),
    event(7, "phase", { phase: "fetching" }),
  ];
  expect([...phaseSeconds(again, 9000)]).toEqual([["fetching", 2]]);
});
