/** Numbers, sizes and times as people read them; every page says them alike. */

const NONE = "–";
const locale = "en-GB";
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const significant = new Intl.NumberFormat(locale, { maximumSignificantDigits: 3 });
// British millions are a small m, which a unit would make a thousandth.
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });
const percent = new Intl.NumberFormat(locale, {
  style: "percent",
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});
const moment = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

const BYTE_UNITS = ["bytes", "kB", "MB", "GB", "TB"] as const;
const AGES: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];

export function formatCount(value: number | null | undefined): string {
  return value == null ? NONE : whole.format(value);
}

/** Three digits, as loss and GMACs are read; very small ones as a power of ten. */
export function formatNumber(value: number | null | undefined): string {
  if (value == null) return NONE;
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2) : significant.format(value);
}

export function formatParameters(value: number | null | undefined): string {
  return value == null ? NONE : compact.format(value);
}

export function formatShare(value: number | null | undefined): string {
  return value == null ? NONE : percent.format(value);
}

/** Decimal units, as disks and browsers count. */
export function formatBytes(bytes: number | null | undefined): string {
  if (bytes == null) return NONE;
  const power = bytes < 1000 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${significant.format(bytes / 1000 ** power)} ${BYTE_UNITS[power]}`;
}

/** `3 s`, `4 min 10 s`, `2 h 5 min`. */
export function formatSeconds(seconds: number | null | undefined): string {
  if (seconds == null || !Number.isFinite(seconds)) return NONE;
  if (seconds < 10 && !Number.isInteger(seconds)) return `${seconds.toFixed(1)} s`;
  const total = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(total / 3600), Math.floor((total % 3600) / 60), total % 60];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${rest} s` : `${rest} s`;
}

export function formatMoment(iso: string | null | undefined): string {
  return iso == null ? NONE : moment.format(new Date(iso));
}

/** `just now`, `5 minutes ago`, `yesterday`. */
export function formatAge(iso: string, now: number = Date.now()): string {
  const seconds = (new Date(iso).getTime() - now) / 1000;
  for (const [unit, length] of AGES) {
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  }
  return "just now";
}

export function secondsBetween(from: string | null | undefined, to: string | null | undefined, now: number) {
  if (from == null) return null;
  return Math.max(0, ((to == null ? now : new Date(to).getTime()) - new Date(from).getTime()) / 1000);
}
