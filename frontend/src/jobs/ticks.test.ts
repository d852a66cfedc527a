import { expect, test } from "vitest";
import { logTicks } from "./ticks";

test.each([
  [0.17, 0.25, [0.18, 0.2, 0.22, 0.24]],
  [0.03, 0.9, [0.05, 0.1, 0.2, 0.5]],
  [1e-6, 2, [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1]],
  [3, 3, []],
])("from %f to %f the numbers are %j", (least, most, ticks) => {
  expect(logTicks(least, most)).toEqual(ticks);
});

test("every span has some numbers, and not too many", () => {
  for (const ratio of [1.01, 1.3, 3, 9, 11, 99, 1000, 1e5]) {
    const ticks = logTicks(0.0137, 0.0137 * ratio);
    expect(ticks.length).toBeGreaterThan(1);
    expect(ticks.length).toBeLessThan(14);
  }
});
