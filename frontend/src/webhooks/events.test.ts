import { expect, test } from "vitest";
import { EVENTS, eventsInWords } from "./events";

test("all events are said as such, some by their names", () => {
  expect(eventsInWords(EVENTS.map(({ type }) => type))).toBe("all events");
  expect(eventsInWords(["job.failed", "dataset.failed"])).toBe("job.failed, dataset.failed");
});
