import { type Found, isLitter } from "./plan";

/** Each file costs the page some time when it is handed to the worker; so many never hold it for long. */
const BATCH = 100;

/** Files in batches, as they are found; the page draws between two of them. */
export type Batches = AsyncGenerator<Found[]>;

export interface Dropped {
  /** Of the folder, archive or image; null where several things were dropped. */
  name: string | null;
  batches: Batches;
}

/** What was dropped. To be called while the event is handled: its items are gone afterwards. */
export function collectDropped(transfer: DataTransfer): Dropped | null {
  const entries = [...transfer.items]
    .filter(({ kind }) => kind === "file")
    .map((item) => item.webkitGetAsEntry())
    .filter((entry) => entry !== null);
  if (entries.length === 0) return null;
  const [first] = entries;
  return { name: entries.length === 1 && first ? nameOf(first.name) : null, batches: walk(entries) };
}

/** What was chosen in a file dialog: files, or a folder with paths. */
export function collectChosen(files: FileList): Dropped | null {
  const [first] = files;
  if (first === undefined) return null;
  const folder = first.webkitRelativePath.split("/")[0];
  const name = folder || (files.length === 1 ? nameOf(first.name) : null);
  return { name, batches: inBatches(files) };
}

function nameOf(name: string): string {
  return name.replace(/\.(zip|tar|tgz|tar\.gz|[a-z]{3,4})$/i, "") || name;
}

async function* inBatches(files: FileList): Batches {
  let batch: Found[] = [];
  for (const file of files) {
    const path = file.webkitRelativePath || file.name;
    if (!isLitter(path)) batch.push({ path, file });
    if (batch.length === BATCH) {
      yield batch;
      batch = [];
      await nextTask();
    }
  }
  if (batch.length > 0) yield batch;
}

/** All files below the entries. A folder that cannot be read ends the walk with the browser's error. */
async function* walk(entries: FileSystemEntry[]): Batches {
  const folders: FileSystemDirectoryEntry[] = [];
  yield* takeFiles(entries, folders);
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const reader = folder.createReader();
    // A reader gives a hundred entries at a time, and an empty list at the end.
    for (let some = await readSome(reader); some.length > 0; some = await readSome(reader)) {
      yield* takeFiles(some, folders);
    }
  }
}

async function* takeFiles(entries: FileSystemEntry[], folders: FileSystemDirectoryEntry[]): Batches {
  const wanted = entries.filter(({ fullPath }) => !isLitter(fullPath));
  folders.push(
    ...wanted.filter(({ isDirectory }) => isDirectory).map((each) => each as FileSystemDirectoryEntry),
  );
  const files = wanted.filter(({ isFile }) => isFile);
  for (let start = 0; start < files.length; start += BATCH) {
    yield await Promise.all(files.slice(start, start + BATCH).map(toFound));
  }
}

function readSome(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}

function toFound(entry: FileSystemEntry): Promise<Found> {
  const path = entry.fullPath.replace(/^\/+/, "");
  return new Promise((resolve, reject) =>
    (entry as FileSystemFileEntry).file((file) => resolve({ path, file }), reject),
  );
}

function nextTask(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}
