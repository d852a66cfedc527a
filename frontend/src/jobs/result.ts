import { formatBytes, formatNumber, formatParameters, formatShare } from "@/common/format";

type Result = Record<string, unknown> | null;
export type Role = "teacher" | "student";

interface Measure {
  key: string;
  label: string;
  format: (value: number | null) => string;
  /** Whether teacher and student are to be compared by a ratio. */
  hasRatio: boolean;
}

/** What a finished job says of teacher and student, in the order of the table. */
export const MEASURES: readonly Measure[] = [
  { key: "probe_accuracy", label: "Accuracy of a linear probe", format: formatShare, hasRatio: false },
  { key: "parameters", label: "Parameters", format: formatParameters, hasRatio: true },
  { key: "gmacs", label: "GMACs an image", format: formatNumber, hasRatio: true },
  { key: "latency_ms", label: "Latency of one image, ms", format: formatNumber, hasRatio: true },
  { key: "file_size_bytes", label: "File size", format: formatBytes, hasRatio: true },
];

export function measured(result: Result, role: Role, key: string): number | null {
  const side = result?.[role];
  if (typeof side !== "object" || side === null) return null;
  const value = (side as Record<string, unknown>)[key];
  return typeof value === "number" ? value : null;
}

export function accuracyOf(result: Result, role: Role): string {
  return formatShare(measured(result, role, "probe_accuracy"));
}
