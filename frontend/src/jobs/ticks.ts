const NICE = [1, 2, 5] as const;
const WANTED = 4;

/** Where a logarithmic axis has its numbers: at 1, 2 and 5 of each power of ten, evenly where it spans less than one. */
export function logTicks(least: number, most: number): number[] {
  if (!(least > 0) || !(most > least)) return [];
  if (most / least < 10) return evenTicks(least, most);
  const powers = Math.log10(most / least);
  const steps = powers > 4 ? [1] : NICE;
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.log10(most); power += 1) {
    ticks.push(...steps.map((step) => tidy(step * 10 ** power)));
  }
  return ticks.filter((tick) => tick >= least && tick <= most);
}

function evenTicks(least: number, most: number): number[] {
  const rough = (most - least) / WANTED;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * (NICE.find((each) => each * unit >= rough) ?? 10);
  const ticks: number[] = [];
  for (let count = Math.ceil(least / step); count * step <= most; count += 1) ticks.push(tidy(count * step));
  return ticks;
}

/** Without the last digits that a product of floating numbers leaves. */
function tidy(value: number): number {
  return Number(value.toPrecision(10));
}
