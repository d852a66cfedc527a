import "uplot/dist/uPlot.min.css";
import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { type KeyboardEvent, useEffect, useRef } from "react";
import uPlot from "uplot";
import { formatCount, formatNumber } from "@/common/format";
import { plotStyle } from "@/common/plotStyle";
import classes from "./Chart.module.css";
import { logTicks } from "./ticks";
import { zoomByKey } from "./zoom";

export interface Line {
  label: string;
  values: readonly number[];
  /** A faint line is drawn behind the others: the values that a smoothed one was made of. */
  isFaint?: boolean;
}

interface Props {
  x: readonly number[];
  lines: readonly Line[];
  isLog: boolean;
  /** Said to those who cannot see the lines. */
  description: string;
  /** Counts up to show everything again. */
  resets: number;
}

const HEIGHT_REM = 15;

/**
 * Lines over steps: drag to zoom, double click to see everything again; with the keyboard + and -, arrows and 0. Canvas,
 * so that 100,000 points stay smooth.
 */
export function Chart({ x, lines, isLog, description, resets }: Props) {
  const { ref: box, width } = useElementSize<HTMLDivElement>();
  const target = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef<uPlot.AlignedData>([[]]);
  const scheme = useComputedColorScheme("light");
  const labels = lines.map((line) => `${line.isFaint ? "~" : ""}${line.label}`).join("\n");
  latest.current = [x, ...lines.map((line) => line.values)] as uPlot.AlignedData;

  // biome-ignore lint/correctness/useExhaustiveDependencies: the colours are read from the page, and change with the scheme
  useEffect(() => {
    if (target.current === null || width === 0) return;
    const made = new uPlot(
      makeOptions(labels.split("\n"), isLog, target.current, width),
      latest.current,
      target.current,
    );
    plot.current = made;
    return () => made.destroy();
  }, [labels, isLog, scheme, width]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the data are the same arrays, longer; `x` is a new one at each change
  useEffect(() => {
    const chart = plot.current;
    if (chart === null) return;
    const { min, max } = chart.scales.x ?? {};
    const before = chart.data[0];
    const isZoomed = min != null && max != null && (min > (before[0] ?? min) || max < (before.at(-1) ?? max));
    chart.setData(latest.current, !isZoomed);
    if (isZoomed) chart.redraw();
  }, [x, lines]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: counted up by the button
  useEffect(() => {
    plot.current?.setData(latest.current, true);
  }, [resets]);

  const zoom = (event: KeyboardEvent) => {
    const chart = plot.current;
    const { min, max } = chart?.scales.x ?? {};
    if (chart === null || min == null || max == null || event.ctrlKey || event.metaKey || event.altKey)
      return;
    const steps = chart.data[0];
    const range = zoomByKey(event.key, [min, max], [steps[0] ?? min, steps.at(-1) ?? max]);
    if (range === null) return;
    event.preventDefault();
    chart.setScale("x", { min: range[0], max: range[1] });
  };

  return (
    <div
      ref={box}
      role="img"
      aria-label={description}
      aria-description="Plus and minus zoom, the arrow keys move, 0 shows all steps."
      // biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard zooms it
      tabIndex={0}
      className={classes.chart}
      onKeyDown={zoom}
    >
      <div ref={target} style={{ minHeight: `${HEIGHT_REM}rem` }} />
    </div>
  );
}

/** uPlot would leave out what is no power of ten. */
const asTheyAre: uPlot.Axis.Filter = (_chart, ticks) => ticks;

/** Little room around the values: whole powers of ten would leave most curves a flat line. */
function aroundLog(_chart: uPlot, least: number, most: number): [number, number] {
  return least > 0 && most > 0 ? [least / 1.1, most * 1.1] : [1e-3, 1];
}

function makeOptions(labels: string[], isLog: boolean, element: Element, width: number): uPlot.Options {
  const { rem, font, colour } = plotStyle(element);
  const text = colour("--mantine-color-text");
  const grid = { stroke: colour("--mantine-color-default-border"), width: 1 };
  const accent = colour("--tone-accent");
  return {
    width,
    height: HEIGHT_REM * rem,
    cursor: { drag: { x: true, y: false } },
    legend: { live: true },
    scales: { x: { time: false }, y: isLog ? { distr: 3, range: aroundLog } : { distr: 1 } },
    axes: [
      {
        stroke: text,
        grid,
        ticks: grid,
        font,
        size: 3 * rem,
        values: (_chart, values) =>
          values.map((value) => (Number.isInteger(value) ? formatCount(value) : "")),
      },
      {
        stroke: text,
        grid,
        ticks: grid,
        font,
        size: 4.25 * rem,
        ...(isLog && { splits: (_chart, _axis, least, most) => logTicks(least, most), filter: asTheyAre }),
        values: (_chart, values) => values.map((value) => (value == null ? "" : formatNumber(value))),
      },
    ],
    series: [
      { label: "Step", value: (_chart, value) => (value == null ? "–" : formatCount(value)) },
      ...labels.map((label) => {
        const isFaint = label.startsWith("~");
        return {
          label: isFaint ? label.slice(1) : label,
          stroke: isFaint ? `color-mix(in srgb, ${accent} 35%, transparent)` : accent,
          width: isFaint ? 1 : 1.75,
          points: { show: false },
          value: (_chart: uPlot, value: number | null) => formatNumber(value),
        };
      }),
    ],
  };
}
