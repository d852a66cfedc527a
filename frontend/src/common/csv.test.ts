import { expect, test } from "vitest";
import { toCsv } from "./csv";

test("names with commas, quotes and breaks stay one cell; what is unknown is empty", () => {
  const rows = [
    { name: 'half, "best"', accuracy: 0.93 },
    { name: "two\nlines", accuracy: null },
  ];
  expect(toCsv(["name", "accuracy"], rows)).toBe(
    'name,accuracy\r\n"half, ""best""",0.93\r\n"two\nlines",\r\n',
  );
});

test.each(["=1+1", "+1", "-1", "@SUM(A1)"])("%s is no formula in a spreadsheet", (name) => {
  expect(toCsv(["name"], [{ name }])).toBe(`name\r\n'${name}\r\n`);
});

test("negative numbers stay numbers", () => {
  expect(toCsv(["x"], [{ x: -1.5 }])).toBe("x\r\n-1.5\r\n");
});
