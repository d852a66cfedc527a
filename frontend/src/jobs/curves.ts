/** Training curves as columns, in the order of steps: what a chart draws without a copy. */
export interface Curves {
  step: number[];
  loss: number[];
  lr: number[];
}

export interface MetricPoint {
  step: number;
  loss: number;
  lr: number;
}

export const NO_CURVES: Curves = { step: [], loss: [], lr: [] };

/** A metric event's data, where it is one of a training step. */
export function toPoint(data: Record<string, unknown>): MetricPoint | null {
  const { step, loss, lr } = data;
  if (typeof step !== "number" || typeof loss !== "number" || typeof lr !== "number") return null;
  return { step, loss, lr };
}

/**
 * Add points in place. An attempt that resumes from a checkpoint does steps again: what was drawn of them is
 * replaced, as the training replaced it.
 */
export function addPoints(curves: Curves, points: readonly MetricPoint[]): void {
  for (const point of points) {
    let length = curves.step.length;
    while (length > 0 && (curves.step[length - 1] ?? 0) >= point.step) length -= 1;
    curves.step.length = curves.loss.length = curves.lr.length = length;
    curves.step.push(point.step);
    curves.loss.push(point.loss);
    curves.lr.push(point.lr);
  }
}

/**
 * Exponential moving average, with the start's bias taken out.
 *
 * @param weight of the past, from 0 (the values themselves) to below 1.
 */
export function smooth(values: readonly number[], weight: number): number[] {
  if (weight === 0) return [...values];
  let average = 0;
  let past = 1;
  return values.map((value) => {
    average = weight * average + (1 - weight) * value;
    past *= weight;
    return average / (1 - past);
  });
}

/** Numbers of at most so many rows of a column, evenly taken, the first and the last among them. */
export function sampleRows(length: number, most: number): number[] {
  const count = Math.min(length, most);
  const gap = (length - 1) / Math.max(1, count - 1);
  return Array.from({ length: count }, (_, index) => Math.round(index * gap));
}

/** A sentence for those who cannot see the curve. */
export function describe(name: string, curves: Curves, values: readonly number[]): string {
  const [first, last] = [values[0], values.at(-1)];
  if (first === undefined || last === undefined) return `${name}: no step was reported yet.`;
  const least = values.reduce((a, b) => Math.min(a, b), first);
  const words = (value: number) => value.toPrecision(4);
  return (
    `${name} over ${values.length} reported steps: ${words(first)} at step ${curves.step[0]}, ` +
    `${words(last)} at step ${curves.step.at(-1)}, least ${words(least)}.`
  );
}
