import "uplot/dist/uPlot.min.css";
import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import { formatParameters, formatShare } from "@/common/format";
import { plotStyle } from "@/common/plotStyle";

export interface Point {
  parameters: number;
  accuracy: number;
  isTeacher: boolean;
}

const HEIGHT_REM = 19;

/** Accuracy against parameters: students as full marks, their teachers as rings. */
export function Scatter({ points, description }: { points: readonly Point[]; description: string }) {
  const { ref: box, width } = useElementSize<HTMLDivElement>();
  const target = useRef<HTMLDivElement>(null);
  const scheme = useComputedColorScheme("light");

  // biome-ignore lint/correctness/useExhaustiveDependencies: the colours are read from the page, and change with the scheme
  useEffect(() => {
    if (target.current === null || width === 0) return;
    const sorted = [...points].sort((a, b) => a.parameters - b.parameters);
    const column = (isTeacher: boolean) =>
      sorted.map((point) => (point.isTeacher === isTeacher ? point.accuracy : null));
    const data = [sorted.map(({ parameters }) => parameters), column(false), column(true)];
    const plot = new uPlot(makeOptions(target.current, width), data as uPlot.AlignedData, target.current);
    return () => plot.destroy();
  }, [points, scheme, width]);

  return (
    <div ref={box} role="img" aria-label={description}>
      <div ref={target} style={{ minHeight: `${HEIGHT_REM}rem` }} />
    </div>
  );
}

function makeOptions(element: Element, width: number): uPlot.Options {
  const { rem, font, colour } = plotStyle(element);
  const [text, accent, idle] = [
    colour("--mantine-color-text"),
    colour("--tone-accent"),
    colour("--tone-idle"),
  ];
  const grid = { stroke: colour("--mantine-color-default-border"), width: 1 };
  const axis = { stroke: text, grid, ticks: grid, font, labelFont: font };
  const marks = { paths: () => null, width: 0 };
  return {
    width,
    height: HEIGHT_REM * rem,
    scales: { x: { time: false, range: pad }, y: { range: pad } },
    axes: [
      {
        ...axis,
        label: "Parameters",
        size: 3 * rem,
        values: (_plot, values) => values.map(formatParameters),
      },
      {
        ...axis,
        label: "Accuracy of a linear probe",
        size: 4 * rem,
        values: (_plot, values) => values.map(formatShare),
      },
    ],
    series: [
      { label: "Parameters", value: (_plot, value) => formatParameters(value) },
      {
        ...marks,
        label: "Student",
        stroke: accent,
        points: { show: true, size: 10, fill: accent, stroke: accent },
        value: (_plot, value) => formatShare(value),
      },
      {
        ...marks,
        label: "Teacher",
        stroke: idle,
        points: { show: true, size: 12, fill: "transparent", stroke: idle, width: 2 },
        value: (_plot, value) => formatShare(value),
      },
    ],
  };
}

/** Room around the marks, also around a single one. */
function pad(_plot: uPlot, least: number, most: number): [number, number] {
  const room = (most - least || Math.abs(most) || 1) * 0.15;
  return [Math.max(0, least - room), most + room];
}
