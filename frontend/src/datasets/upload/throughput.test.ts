import { expect, test } from "vitest";
import { Throughput } from "./throughput";

test("the rate is that of the last ten seconds, not of the whole upload", () => {
  const throughput = new Throughput();
  expect(throughput.add(0, 0)).toBeNull();
  expect(throughput.add(500, 1000)).toBe(500);
  let rate: number | null = null;
  for (let second = 2; second <= 40; second += 1)
    rate = throughput.add(500 + 100 * (second - 1), 1000 * second);
  expect(rate).toBeCloseTo(100);
});

test("a part that is sent again makes no negative rate", () => {
  const throughput = new Throughput();
  throughput.add(1000, 0);
  expect(throughput.add(200, 1000)).toBe(0);
});
