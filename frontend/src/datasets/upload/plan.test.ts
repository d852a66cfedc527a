import { describe, expect, test } from "vitest";
import { type Found, isLitter, LEAST_PART_BYTES, matchArrived, planParts } from "./plan";

function found(path: string, size: number, lastModified = 1): Found {
  const file = new File([], path, { lastModified });
  Object.defineProperty(file, "size", { value: size });
  return { path, file };
}

const photographs = (count: number, size: number) =>
  Array.from({ length: count }, (_, i) => found(`trip/${String(i).padStart(6, "0")}.jpg`, size));

describe("planParts", () => {
  test("every file is in one part, parts are numbered from 1, and none is much over the target", () => {
    const files = photographs(5000, 100_000);
    const parts = planParts(files);
    expect(parts.map(({ number }) => number)).toEqual(parts.map((_, i) => i + 1));
    expect(parts.flatMap(({ files }) => files.map(({ path }) => path))).toEqual(
      files.map(({ path }) => path),
    );
    expect(Math.max(...parts.map(({ sizeBytes }) => sizeBytes))).toBeLessThanOrEqual(LEAST_PART_BYTES);
  });

  test("the order in which files were found changes nothing, their contents do", () => {
    const files = photographs(100, 90_000);
    const names = planParts(files).map(({ filename }) => filename);
    expect(planParts([...files].reverse()).map(({ filename }) => filename)).toEqual(names);
    const changed = [...files.slice(0, -1), found(files.at(-1)?.path ?? "", 90_000, 2)];
    expect(planParts(changed).map(({ filename }) => filename)).not.toEqual(names);
  });

  test("100,000 photographs of 5 MB are fewer parts than a dataset takes", () => {
    const parts = planParts(photographs(100_000, 5_000_000));
    expect(parts.length).toBeLessThan(10_000);
  });

  test("archives and large files travel as they are, under their own names", () => {
    const parts = planParts([found("a.jpg", 10), found("b.zip", 10), found("big/c.tif", 9_000_000)]);
    expect(parts.map(({ filename, isPacked }) => [isPacked, isPacked ? "" : filename])).toEqual([
      [true, ""],
      [false, "b.zip"],
      [false, "big/c.tif"],
    ]);
  });

  test("more archives than a dataset has parts are refused in words", () => {
    const archives = Array.from({ length: 10_001 }, (_, i) => found(`${i}.zip`, 1));
    expect(() => planParts(archives)).toThrow(/10001 parts.*10000/);
  });
});

describe("matchArrived", () => {
  const parts = planParts([...photographs(100, 90_000), found("zz.tar", 500)]);
  const arrive = (numbers: number[]) =>
    numbers.map((number) => {
      const part = parts[number - 1];
      return {
        number,
        filename: part?.filename ?? "",
        size_bytes: part?.sizeBytes ?? 0,
        sha256: `sha-${number}`,
      };
    });

  test("what has arrived is not sent again", () => {
    expect([...matchArrived(parts, arrive([1, parts.length]))]).toEqual([
      [1, "sha-1"],
      [parts.length, `sha-${parts.length}`],
    ]);
  });

  test("an archive of another size is sent again", () => {
    const [first, last] = arrive([1, parts.length]);
    if (first === undefined || last === undefined) throw new Error("two parts were made");
    expect([...matchArrived(parts, [first, { ...last, size_bytes: 499 }]).keys()]).toEqual([1]);
  });

  test("another folder is refused", () => {
    expect(() => matchArrived(planParts(photographs(3, 50)), arrive([1]))).toThrow(/not the files/);
    expect(() => matchArrived(planParts(photographs(3, 50)), arrive([1, 2, 3]))).toThrow(/not the files/);
  });
});

test.each([".DS_Store", "a/.git/config", "x/Thumbs.db", "__MACOSX/a.jpg"])("%s is litter", (path) => {
  expect(isLitter(path)).toBe(true);
});

test.each(["a.jpg", "v1.0/b.png", "Thumbs.db.jpg"])("%s is no litter", (path) => {
  expect(isLitter(path)).toBe(false);
});
