const WINDOW_MS = 10_000;

/** Bytes a second over the last ten seconds. */
export class Throughput {
  private readonly points: { at: number; bytes: number }[] = [];

  /** The rate with this point in it; null before there are two points. */
  add(bytes: number, now: number): number | null {
    this.points.push({ at: now, bytes });
    while (this.points.length > 2 && (this.points[0]?.at ?? now) < now - WINDOW_MS) this.points.shift();
    const [first] = this.points;
    if (first === undefined || now <= first.at) return null;
    return Math.max(0, (1000 * (bytes - first.bytes)) / (now - first.at));
  }
}
