import type { SkippedFile } from "@/api/report";

/** Files whose path or reason has every word of the search, in any case. */
export function searchFiles(files: readonly SkippedFile[], search: string): readonly SkippedFile[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return files;
  return files.filter(({ path, reason }) => {
    const text = `${path} ${reason}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}
