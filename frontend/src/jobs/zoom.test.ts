import { expect, test } from "vitest";
import { type Range, zoomByKey } from "./zoom";

const WHOLE: Range = [0, 900];

test.each([
  ["+", [0, 900], [150, 750]],
  ["=", [300, 600], [350, 550]],
  ["-", [350, 550], [300, 600]],
  ["-", [0, 800], [0, 900]],
  ["ArrowRight", [300, 600], [360, 660]],
  ["ArrowRight", [700, 900], [700, 900]],
  ["ArrowLeft", [20, 220], [0, 200]],
  ["0", [300, 600], [0, 900]],
  ["Escape", [300, 600], [0, 900]],
] as const)("%s leads from %j to %j", (key, from, to) => {
  expect(zoomByKey(key, from, WHOLE)).toEqual(to);
});

test("a few steps are as near as it goes, and other keys do nothing", () => {
  expect(zoomByKey("+", [10, 14], WHOLE)).toEqual([10, 14]);
  expect(zoomByKey("a", [10, 14], WHOLE)).toBeNull();
});
