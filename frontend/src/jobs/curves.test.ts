import { expect, describe as group, test } from "vitest";
import { addPoints, type Curves, describe, sampleRows, smooth, toPoint } from "./curves";

const empty = (): Curves => ({ step: [], loss: [], lr: [] });
const at = (step: number, loss = step / 10) => ({ step, loss, lr: 0.001 });

group("addPoints", () => {
  test("a resumed attempt replaces the steps that it does again", () => {
    const curves = empty();
    addPoints(curves, [at(1, 1), at(10, 2), at(20, 3), at(30, 4)]);
    addPoints(curves, [at(15, 9), at(25, 8)]);
    expect(curves.step).toEqual([1, 10, 15, 25]);
    expect(curves.loss).toEqual([1, 2, 9, 8]);
    expect(curves.lr).toHaveLength(4);
  });

  test("a training that begins anew leaves nothing of the old one", () => {
    const curves = empty();
    addPoints(curves, [at(1), at(2), at(1, 7)]);
    expect([curves.step, curves.loss]).toEqual([[1], [7]]);
  });
});

group("smooth", () => {
  test("a constant stays what it is from its first value on", () => {
    expect(smooth([5, 5, 5, 5], 0.9).map((value) => Number(value.toFixed(9)))).toEqual([5, 5, 5, 5]);
  });

  test("noise shrinks and the mean stays", () => {
    const noisy = Array.from({ length: 400 }, (_, i) => 1 + (i % 2 === 0 ? 0.5 : -0.5));
    const tail = smooth(noisy, 0.95).slice(200);
    expect(Math.max(...tail) - Math.min(...tail)).toBeLessThan(0.06);
    expect(tail.reduce((a, b) => a + b) / tail.length).toBeCloseTo(1, 2);
  });

  test("without smoothing the values are copied, not shared", () => {
    const values = [3, 1, 2];
    const same = smooth(values, 0);
    expect(same).toEqual(values);
    expect(same).not.toBe(values);
  });
});

test("events that are no training steps are no points", () => {
  expect(toPoint({ step: 3, loss: 0.5, lr: 1e-3, epoch: 0 })).toEqual({ step: 3, loss: 0.5, lr: 1e-3 });
  expect(toPoint({ step: 3, loss: null, lr: 1e-3 })).toBeNull();
});

test("a curve is said in words, also before it has begun", () => {
  const curves = empty();
  expect(describe("Loss", curves, curves.loss)).toContain("no step");
  addPoints(curves, [at(1, 0.9), at(50, 0.2), at(80, 0.3)]);
  expect(describe("Loss", curves, curves.loss)).toBe(
    "Loss over 3 reported steps: 0.9000 at step 1, 0.3000 at step 80, least 0.2000.",
  );
});

test.each([
  [0, 5, []],
  [1, 5, [0]],
  [3, 5, [0, 1, 2]],
  [101, 5, [0, 25, 50, 75, 100]],
])("of %i rows at most %i are taken evenly, both ends among them", (length, most, rows) => {
  expect(sampleRows(length, most)).toEqual(rows);
});
