import { expect, test } from "vitest";
import { placeInList } from "./placeInList";

test.each([
  [{ before: 0, shown: 0, isLast: true, count: null }, "No file fits."],
  [{ before: 0, shown: 25, isLast: false, count: 1200 }, "1 to 25 of 1,200"],
  [{ before: 25, shown: 25, isLast: false, count: null }, "26 to 50, and there are more"],
  [{ before: 50, shown: 3, isLast: true, count: null }, "51 to 53 of 53"],
])("%o is %j", (place, words) => {
  expect(placeInList(place)).toBe(words);
});
