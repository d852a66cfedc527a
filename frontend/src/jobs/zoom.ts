/** Steps that a chart shows, from and to. */
export type Range = readonly [from: number, to: number];

const ZOOM = 1.5;
const PAN = 0.2;
const LEAST_STEPS = 4;

/**
 * The range that a key leads to; the whole one for `0`, null for a key that does nothing.
 *
 * `+` and `-` go in and out around the middle, the arrows move what is shown.
 */
export function zoomByKey(key: string, [from, to]: Range, whole: Range): Range | null {
  const width = to - from;
  switch (key) {
    case "0":
    case "Escape":
      return whole;
    case "+":
    case "=":
      return resize([from, to], Math.max(Math.min(LEAST_STEPS, width), width / ZOOM), whole);
    case "-":
      return resize([from, to], width * ZOOM, whole);
    case "ArrowLeft":
      return shift([from, to], -PAN * width, whole);
    case "ArrowRight":
      return shift([from, to], PAN * width, whole);
    default:
      return null;
  }
}

function resize([from, to]: Range, width: number, whole: Range): Range {
  const middle = (from + to) / 2;
  return clamp([middle - width / 2, middle + width / 2], whole);
}

function shift([from, to]: Range, by: number, whole: Range): Range {
  return clamp([from + by, to + by], whole);
}

/** Moved, and if need be cut, so that it lies within the whole. */
function clamp([from, to]: Range, [least, most]: Range): Range {
  const width = Math.min(to - from, most - least);
  const start = Math.min(Math.max(from, least), most - width);
  return [start, start + width];
}
