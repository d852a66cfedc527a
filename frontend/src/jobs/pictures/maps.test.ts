import { expect, test } from "vitest";
import { fitToSquare, lookOf, nearest, type Place } from "./maps";

test("a map fills its square, keeps its proportions and points up", () => {
  const places = fitToSquare(
    [
      [-10, 0],
      [30, 0],
      [10, 20],
    ],
    0.1,
  );
  const rounded = places.map(([x, y]) => [Number(x.toFixed(6)), Number(y.toFixed(6))]);
  expect(rounded).toEqual([
    [0.1, 0.7],
    [0.9, 0.7],
    [0.5, 0.3],
  ]);
});

test("points that all lie in one place are in the middle, and none is no map", () => {
  expect(fitToSquare([[3, 4]])).toEqual([[0.5, 0.5]]);
  expect(fitToSquare([])).toEqual([]);
});

test("the nearest place is found among those that are shown, and not from afar", () => {
  const places: Place[] = [
    [0.1, 0.1],
    [0.2, 0.2],
    [0.9, 0.9],
  ];
  expect(nearest(places, [0.19, 0.19], 0.1)).toBe(1);
  expect(nearest(places, [0.19, 0.19], 0.2, (index) => index !== 1)).toBe(0);
  expect(nearest(places, [0.5, 0.5], 0.1)).toBeNull();
});

test("fifty classes look different", () => {
  const looks = Array.from({ length: 50 }, (_, label) => JSON.stringify(lookOf(label)));
  expect(new Set(looks).size).toBe(50);
});
