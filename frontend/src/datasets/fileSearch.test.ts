import { expect, test } from "vitest";
import { searchFiles } from "./fileSearch";

const files = [
  { path: "holiday/IMG_1.jpg", reason: "is damaged" },
  { path: "holiday/logo.svg", reason: "is SVG, which is not taken" },
  { path: "work/IMG_2.jpg", reason: "is damaged" },
];

test.each([
  ["", 3],
  ["  ", 3],
  ["damaged", 2],
  ["DAMAGED holiday", 1],
  ["svg", 1],
  ["nothing of the kind", 0],
])("the search %j finds %i files", (search, count) => {
  expect(searchFiles(files, search)).toHaveLength(count);
});
