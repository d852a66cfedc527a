/** One line of a table, by column. */
export type Row = Record<string, string | number | null>;

/**
 * Rows as CSV (RFC 4180). Spreadsheets run what begins like a formula, so a name that does gets an apostrophe before it.
 */
export function toCsv(columns: readonly string[], rows: readonly Row[]): string {
  const lines = rows.map((row) => columns.map((column) => cell(row[column] ?? null)).join(","));
  return [columns.join(","), ...lines, ""].join("\r\n");
}

function cell(value: string | number | null): string {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
