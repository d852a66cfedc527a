import { expect, test } from "vitest";
import {
  formatAge,
  formatBytes,
  formatNumber,
  formatParameters,
  formatSeconds,
  secondsBetween,
} from "./format";

test.each([
  [0, "0 bytes"],
  [999, "999 bytes"],
  [1000, "1 kB"],
  [2_500_000, "2.5 MB"],
  [5e15, "5,000 TB"],
  [null, "–"],
])("%s bytes are %s", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test.each([
  [0.42, "0.4 s"],
  [59.7, "1 min 0 s"],
  [3725, "1 h 2 min"],
  [Number.POSITIVE_INFINITY, "–"],
])("%s seconds are %s", (seconds, text) => {
  expect(formatSeconds(seconds)).toBe(text);
});

test.each([
  [21_487_872, "21.5M"],
  [240_000, "240K"],
  [1_136_000_000, "1.14B"],
  [null, "–"],
])("%s parameters are %s", (parameters, text) => {
  expect(formatParameters(parameters)).toBe(text);
});

test("small learning rates keep their digits", () => {
  expect(formatNumber(0.00012345)).toBe("1.23e-4");
  expect(formatNumber(0)).toBe("0");
});

test("an age never lies in the future by the clock of the machine that shows it", () => {
  const now = Date.parse("2026-01-02T00:00:00Z");
  expect(formatAge("2026-01-02T00:00:03Z", now)).toBe("just now");
  expect(formatAge("2026-01-01T23:58:00Z", now)).toBe("2 minutes ago");
  expect(formatAge("2026-01-01T00:00:00Z", now)).toBe("yesterday");
  expect(secondsBetween("2026-01-02T00:00:05Z", null, now)).toBe(0);
});
