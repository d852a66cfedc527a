import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";

/** A file to upload, with its path below what was dropped. */
export interface Found {
  path: string;
  file: File;
}

/** One numbered upload: small files packed together, or one file as it is. */
export interface PlannedPart {
  number: number;
  /** What the service keeps with the part. It tells whether a part that has arrived is this one. */
  filename: string;
  files: readonly Found[];
  isPacked: boolean;
  sizeBytes: number;
}

export const LEAST_PART_BYTES = 4_000_000;
export const MOST_PARTS = 10_000;
const MOST_FILES_IN_PART = 1000;
/** Parts grow with the upload, so that their number stays below what a dataset takes. */
const USUAL_MOST_PARTS = 4000;
const ARCHIVE = /\.(zip|tar|tgz|tar\.gz)$/i;
const LITTER = /(^|\/)(\.[^/]*|Thumbs\.db|desktop\.ini|__MACOSX)(\/|$)/i;

/** Files that systems leave in folders, and that nobody means to upload. */
export function isLitter(path: string): boolean {
  return LITTER.test(path);
}

/**
 * Divide files into parts. The same files give the same parts, whatever the order they were found in: that is how an
 * interrupted upload goes on when the folder is dropped again.
 *
 * @throws {RangeError} when they would be more parts than a dataset takes.
 */
export function planParts(found: readonly Found[]): PlannedPart[] {
  const sorted = [...found].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  const total = sorted.reduce((sum, { file }) => sum + file.size, 0);
  const target = Math.max(LEAST_PART_BYTES, Math.ceil(total / USUAL_MOST_PARTS));
  const parts: PlannedPart[] = [];
  let group: Found[] = [];
  let groupBytes = 0;
  const closeGroup = () => {
    if (group.length > 0) parts.push(packedPart(parts.length + 1, group, groupBytes));
    group = [];
    groupBytes = 0;
  };
  for (const each of sorted) {
    const { size } = each.file;
    if (size >= target || ARCHIVE.test(each.path)) {
      closeGroup();
      parts.push(singlePart(parts.length + 1, each));
      continue;
    }
    if (groupBytes + size > target || group.length >= MOST_FILES_IN_PART) closeGroup();
    group.push(each);
    groupBytes += size;
  }
  closeGroup();
  if (parts.length > MOST_PARTS) {
    throw new RangeError(
      `These files make ${parts.length} parts, and a dataset takes ${MOST_PARTS}. Put archives into fewer, larger ones.`,
    );
  }
  return parts;
}

function packedPart(number: number, files: readonly Found[], sizeBytes: number): PlannedPart {
  const manifest = files.map(({ path, file }) => `${path}\0${file.size}\0${file.lastModified}`).join("\n");
  const mark = bytesToHex(sha256(utf8ToBytes(manifest))).slice(0, 16);
  return { number, filename: `part-${mark}.zip`, files, isPacked: true, sizeBytes };
}

function singlePart(number: number, found: Found): PlannedPart {
  const filename = found.path.slice(-400);
  return { number, filename, files: [found], isPacked: false, sizeBytes: found.file.size };
}

/** A part as the service lists it. */
export interface ArrivedPart {
  number: number;
  filename: string | null;
  size_bytes: number;
  sha256: string;
}

/**
 * Which of the planned parts have arrived.
 *
 * @throws {RangeError} when what arrived is of other files.
 */
export function matchArrived(
  parts: readonly PlannedPart[],
  arrived: readonly ArrivedPart[],
): Map<number, string> {
  const byNumber = new Map(arrived.map((part) => [part.number, part]));
  const matching = new Map<number, string>();
  for (const part of parts) {
    const there = byNumber.get(part.number);
    const isSame =
      there?.filename === part.filename && (part.isPacked || there.size_bytes === part.sizeBytes);
    if (there !== undefined && isSame) matching.set(part.number, there.sha256);
  }
  const isOther = arrived.length > 0 && matching.size === 0;
  if (isOther || arrived.some(({ number }) => number > parts.length)) {
    throw new RangeError(
      "These are not the files of which a part has arrived. Drop the folder with which this upload began, " +
        "or drop these on the page of all datasets to make a new one.",
    );
  }
  return matching;
}
