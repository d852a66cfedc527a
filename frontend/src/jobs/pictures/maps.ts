export type Place = readonly [x: number, y: number];

/** Petroff's ten colours, as the engine draws them; the shape of the marks changes after each ten. */
const COLOURS = [
  "#3f90da",
  "#ffa90e",
  "#bd1f01",
  "#94a4a2",
  "#832db6",
  "#a96b59",
  "#e76300",
  "#b9ac70",
  "#717581",
  "#92dadd",
] as const;
const MARKS = ["circle", "triangle", "square", "diamond", "nabla"] as const;

export type Mark = (typeof MARKS)[number];

/** How the points of a class look. */
export function lookOf(label: number): { colour: string; mark: Mark } {
  return {
    colour: COLOURS[label % COLOURS.length] ?? COLOURS[0],
    mark: MARKS[Math.floor(label / COLOURS.length) % MARKS.length] ?? MARKS[0],
  };
}

/**
 * Places in a square of 0 … 1 with a margin. Both directions have one scale: nearness is all that a map says. The
 * vertical axis points up, as in the engine's pictures.
 */
export function fitToSquare(coordinates: readonly Place[], margin = 0.04): Place[] {
  const [xs, ys] = [coordinates.map(([x]) => x), coordinates.map(([, y]) => y)];
  const [left, right] = extent(xs);
  const [low, high] = extent(ys);
  const scale = (1 - 2 * margin) / Math.max(right - left, high - low, 1e-9);
  const [middle, centre] = [(left + right) / 2, (low + high) / 2];
  return coordinates.map(([x, y]) => [0.5 + (x - middle) * scale, 0.5 - (y - centre) * scale]);
}

/** Number of the place nearest to a point, at most so far away; null where there is none. */
export function nearest(
  places: readonly Place[],
  [x, y]: Place,
  most: number,
  isShown: (index: number) => boolean = () => true,
): number | null {
  let [best, least] = [null as number | null, most * most];
  places.forEach(([px, py], index) => {
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance <= least && isShown(index)) [best, least] = [index, distance];
  });
  return best;
}

/** Outline of a mark around a place, to be filled. */
export function traceMark(context: CanvasRenderingContext2D, mark: Mark, [x, y]: Place, size: number): void {
  context.beginPath();
  switch (mark) {
    case "circle":
      context.arc(x, y, size, 0, 2 * Math.PI);
      break;
    case "square":
      context.rect(x - size, y - size, 2 * size, 2 * size);
      break;
    case "triangle":
    case "nabla": {
      const up = mark === "triangle" ? -1 : 1;
      context.moveTo(x, y + 1.2 * up * size);
      context.lineTo(x - 1.1 * size, y - 0.8 * up * size);
      context.lineTo(x + 1.1 * size, y - 0.8 * up * size);
      break;
    }
    case "diamond":
      context.moveTo(x, y - 1.3 * size);
      context.lineTo(x + 1.3 * size, y);
      context.lineTo(x, y + 1.3 * size);
      context.lineTo(x - 1.3 * size, y);
      break;
    default:
      mark satisfies never;
  }
  context.closePath();
}

function extent(values: readonly number[]): [number, number] {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) [least, most] = [Math.min(least, value), Math.max(most, value)];
  return values.length > 0 ? [least, most] : [0, 0];
}
