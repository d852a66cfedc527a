import { expect, test } from "vitest";
import { eachOnce, soughtName } from "./sought";

test.each([
  ["", undefined, undefined],
  ["  ", undefined, undefined],
  [" slides ", undefined, "slides"],
  ["slides (10 images)", "slides (10 images)", undefined],
  ["slides (10 image", "slides (10 images)", "slides (10 image"],
  ["x".repeat(300), undefined, "x".repeat(200)],
])("%j typed beside the chosen %j asks for %j", (typed, chosen, sought) => {
  expect(soughtName(typed, chosen)).toBe(sought);
});

test("a row that comes in two answers is offered once, as the first has it", () => {
  const rows = eachOnce([{ id: "b", state: "ready" }], [{ id: "a" }, { id: "b", state: "ingesting" }]);
  expect(rows).toEqual([{ id: "b", state: "ready" }, { id: "a" }]);
});
