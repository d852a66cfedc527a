import { expect, test } from "vitest";
import { blendGrids, heatPixels, inferno } from "./heat";

test("the colours begin dark, end bright, and grow brighter all the way", () => {
  const brightness = (share: number) => {
    const [red, green, blue] = inferno(share);
    return 0.299 * red + 0.587 * green + 0.114 * blue;
  };
  const shares = Array.from({ length: 101 }, (_, index) => index / 100);
  expect(inferno(0)).toEqual([0, 0, 4]);
  expect(inferno(1)).toEqual([252, 255, 164]);
  expect(inferno(7)).toEqual(inferno(1));
  for (const share of shares.slice(1)) expect(brightness(share)).toBeGreaterThan(brightness(share - 0.01));
});

test("where nothing is looked at the image stays as it is", () => {
  const pixels = heatPixels([
    [0, 1],
    [0.25, 0],
  ]);
  expect([pixels[3], pixels[7], pixels[11]]).toEqual([0, 255, 128]);
});

test("a blend begins at the first grid and ends at the second", () => {
  const [teacher, student] = [
    [
      [0, 1],
      [0.5, 0],
    ],
    [
      [1, 1],
      [0, 0],
    ],
  ];
  expect(blendGrids(teacher, student, 0)).toEqual(teacher);
  expect(blendGrids(teacher, student, 1)).toEqual(student);
  expect(blendGrids(teacher, student, 0.5)[0]).toEqual([0.5, 1]);
  expect(() => blendGrids(teacher, [[1]], 0.5)).toThrow(/shapes/);
});
