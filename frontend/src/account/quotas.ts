import type { Owner } from "@/api/client";
import { formatBytes, formatCount, formatSeconds } from "@/common/format";

export type Quota = keyof Owner["quotas"];

interface QuotaWords {
  label: string;
  /** What counts, and what happens beyond it. */
  text: string;
  /** How the amounts are read. */
  format: (amount: number) => string;
}

/** In the order of the table; a quota that the service has and this lacks is an error of types. */
const WORDS: Record<Quota, QuotaWords> = {
  bytes: {
    label: "Storage",
    text: "Uploaded parts and teachers. Beyond it uploads are refused; delete datasets to make room.",
    format: formatBytes,
  },
  images: {
    label: "Images",
    text: "In datasets that are ready. Beyond it uploads are refused when they are completed.",
    format: formatCount,
  },
  running_jobs: {
    label: "Jobs that run",
    text: "More of them wait for their turn.",
    format: formatCount,
  },
  queued_jobs: {
    label: "Jobs that wait",
    text: "Beyond it new jobs are refused for the time being.",
    format: formatCount,
  },
  device_seconds: {
    label: "Time on devices",
    text: "Of jobs that began within the period. Beyond it new jobs are refused until the oldest is out of it.",
    format: formatSeconds,
  },
  webhooks: {
    label: "Webhooks",
    text: "Beyond it new ones are refused.",
    format: formatCount,
  },
};

export const QUOTAS = Object.entries(WORDS).map(([key, words]) => ({ key: key as Quota, ...words }));

/** How much of a quota is used, 0 … 1; null where there is no limit. */
export function shareUsed(used: number, most: number | null): number | null {
  if (most === null) return null;
  if (most === 0) return 1;
  return Math.min(1, used / most);
}

/**
 * What to send for quotas as they were typed, where they differ from those that count now. Empty is null: the
 * deployment's number.
 */
export function changedQuotas(
  now: Owner["quotas"],
  typed: Partial<Record<Quota, number | string>>,
): Partial<Record<Quota, number | null>> {
  const changed = Object.entries(typed).map(
    ([key, value]) => [key as Quota, value === "" ? null : Number(value)] as const,
  );
  return Object.fromEntries(changed.filter(([key, value]) => value !== now[key]));
}
