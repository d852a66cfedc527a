import { formatCount } from "@/common/format";

interface Place {
  /** Rows on the pages before. */
  before: number;
  /** Rows of this page. */
  shown: number;
  isLast: boolean;
  /** Rows of all pages; null while nobody has counted them. */
  count: number | null;
}

/** Which rows of a list a page has, in words. */
export function placeInList({ before, shown, isLast, count }: Place): string {
  if (before + shown === 0) return "No file fits.";
  const rows = `${formatCount(before + 1)} to ${formatCount(before + shown)}`;
  const all = isLast ? before + shown : count;
  return all === null ? `${rows}, and there are more` : `${rows} of ${formatCount(all)}`;
}
