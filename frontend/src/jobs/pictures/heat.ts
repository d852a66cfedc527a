/** Matplotlib's inferno at even steps: even for the eye, also for colour-blind people. */
const INFERNO = [
  [0, 0, 4],
  [27, 12, 65],
  [74, 12, 107],
  [120, 28, 109],
  [165, 44, 96],
  [207, 68, 70],
  [237, 105, 37],
  [251, 155, 6],
  [247, 209, 61],
  [252, 255, 164],
] as const;

/** Colour of a share of 0 … 1. */
export function inferno(share: number): [red: number, green: number, blue: number] {
  const place = Math.min(1, Math.max(0, share)) * (INFERNO.length - 1);
  const index = Math.min(INFERNO.length - 2, Math.floor(place));
  const [from, to] = [INFERNO[index] ?? INFERNO[0], INFERNO[index + 1] ?? INFERNO[0]];
  const mix = (channel: 0 | 1 | 2) =>
    Math.round(from[channel] + (to[channel] - from[channel]) * (place - index));
  return [mix(0), mix(1), mix(2)];
}

/**
 * Pixels of a grid of attention, to be enlarged over the image. Weak attention hides little of the image; its root
 * keeps it visible.
 *
 * @param grid of 0 … 1, rows of columns.
 */
export function heatPixels(grid: readonly (readonly number[])[]): Uint8ClampedArray<ArrayBuffer> {
  const columns = grid[0]?.length ?? 0;
  const pixels = new Uint8ClampedArray(4 * grid.length * columns);
  grid.forEach((row, y) => {
    row.forEach((value, x) => {
      pixels.set([...inferno(value), Math.round(255 * Math.sqrt(value))], 4 * (y * columns + x));
    });
  });
  return pixels;
}

/**
 * A grid between two: 0 is the first, 1 the second. They are of the same image, and of the same shape when both models
 * have the same patches.
 *
 * @throws {RangeError} their shapes differ.
 */
export function blendGrids(
  first: readonly (readonly number[])[],
  second: readonly (readonly number[])[],
  share: number,
): number[][] {
  if (first.length !== second.length || first[0]?.length !== second[0]?.length) {
    throw new RangeError("The grids of teacher and student have different shapes.");
  }
  return first.map((row, y) => row.map((value, x) => (1 - share) * value + share * (second[y]?.[x] ?? 0)));
}
