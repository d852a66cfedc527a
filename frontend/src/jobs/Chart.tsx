import "uplot/dist/uPlot.min.css";
import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import { formatCount, formatNumber } from "@/common/format";

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

const HEIGHT = 240;

/** Lines over steps: drag to zoom, double click to see everything again. Canvas, so that 100,000 points stay smooth. */
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

  return (
    <div ref={box} role="img" aria-label={description}>
      <div ref={target} style={{ minHeight: HEIGHT }} />
    </div>
  );
}

function makeOptions(labels: string[], isLog: boolean, element: Element, width: number): uPlot.Options {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const text = colour("--mantine-color-text");
  const grid = { stroke: colour("--mantine-color-default-border"), width: 1 };
  const accent = colour("--tone-accent");
  const font = `12px ${style.fontFamily}`;
  return {
    width,
    height: HEIGHT,
    cursor: { drag: { x: true, y: false } },
    legend: { live: true },
    scales: { x: { time: false }, y: { distr: isLog ? 3 : 1 } },
    axes: [
      {
        stroke: text,
        grid,
        ticks: grid,
        font,
        values: (_chart, values) =>
          values.map((value) => (Number.isInteger(value) ? formatCount(value) : "")),
      },
      {
        stroke: text,
        grid,
        ticks: grid,
        font,
        size: 68,
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
