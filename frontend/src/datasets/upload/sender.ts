import { sha256 } from "@noble/hashes/sha2.js";
import { zipSync } from "fflate";
import pLimit from "p-limit";
import pRetry from "p-retry";
import { DirectSender, StoreUnreachable } from "./direct";
import type { Sent } from "./messages";
import { type ArrivedPart, matchArrived, type PlannedPart } from "./plan";
import { PartFailed, putPart } from "./put";

/** Browsers open six connections to one server; some stay free for the page. */
const PARALLEL = 4;
const SHORTEST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15_000;

/** Where parts go. */
export interface Target {
  datasetId: string;
  key: string | null;
  /** Whether the service offers uploads straight into its store. */
  isDirect: boolean;
}

interface ReadPart {
  body: Blob | Uint8Array<ArrayBuffer>;
  /** null for a large file, which the browser reads while it sends. */
  digest: Uint8Array<ArrayBuffer> | null;
}

/** Packs and sends the parts of one upload; can be stopped, and started again where it was. */
export class Sender {
  readonly unreadable: string[] = [];
  private readonly digests = new Map<number, string>();
  private readonly underWay = new Map<number, number>();
  private readonly direct = new DirectSender();
  private isStoreInReach = true;
  private trouble: string | null = null;

  constructor(
    private readonly parts: readonly PlannedPart[],
    private readonly onProgress: () => void,
  ) {}

  /**
   * Send what has not arrived.
   *
   * @throws {RangeError | PartRefused | DOMException} the files are others than those that arrived; a part was
   *   refused; the signal said so.
   */
  async send(target: Target, arrived: readonly ArrivedPart[], signal: AbortSignal): Promise<void> {
    for (const [number, digest] of matchArrived(this.parts, arrived)) this.digests.set(number, digest);
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const limit = pLimit(PARALLEL);
    const missing = this.parts.filter(({ number }) => !this.digests.has(number));
    try {
      await Promise.all(missing.map((part) => limit(() => this.sendPart(part, target, either))));
    } finally {
      // One part was refused: the others need not go on.
      stop.abort();
      limit.clearQueue();
      this.underWay.clear();
    }
  }

  /** Number and sha256 of every part, as the service has them. */
  get arrived(): { number: number; sha256: string }[] {
    return [...this.digests].map(([number, digest]) => ({ number, sha256: digest }));
  }

  get sent(): Sent {
    const done = this.parts.filter(({ number }) => this.digests.has(number));
    let bytes = done.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    for (const more of this.underWay.values()) bytes += more;
    const files = done.reduce((sum, { files }) => sum + files.length, 0);
    return { bytes, files, parts: done.length, trouble: this.trouble };
  }

  private async sendPart(part: PlannedPart, target: Target, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const read = await this.readPart(part);
    const path = `/datasets/${encodeURIComponent(target.datasetId)}/parts/${part.number}`;
    const onProgress = (bytes: number) => {
      this.underWay.set(part.number, Math.min(bytes, part.sizeBytes));
      this.onProgress();
    };
    const sha256 = await pRetry(
      async () => {
        if (target.isDirect && this.isStoreInReach) {
          try {
            return await this.direct.send({
              part,
              body: read.body,
              path,
              key: target.key,
              signal,
              onProgress,
            });
          } catch (error) {
            if (!(error instanceof StoreUnreachable)) throw error;
            this.isStoreInReach = false;
          }
        }
        return this.sendToService(part, read, path, target.key, { signal, onProgress });
      },
      {
        retries: Number.POSITIVE_INFINITY,
        minTimeout: SHORTEST_PAUSE_MS,
        maxTimeout: LONGEST_PAUSE_MS,
        randomize: true,
        signal,
        shouldRetry: ({ error }) => error instanceof PartFailed,
        onFailedAttempt: ({ error }) => {
          this.underWay.delete(part.number);
          if (error instanceof PartFailed) this.trouble = error.message;
          this.onProgress();
        },
      },
    );
    this.trouble = null;
    this.underWay.delete(part.number);
    this.digests.set(part.number, sha256);
    this.onProgress();
  }

  /** The ordinary upload, which goes everywhere. Returns the sha256 of what arrived. */
  private async sendToService(
    part: PlannedPart,
    { body, digest }: ReadPart,
    path: string,
    key: string | null,
    transfer: { signal: AbortSignal; onProgress: (bytes: number) => void },
  ): Promise<string> {
    const query = new URLSearchParams({ filename: part.filename });
    const headers: Record<string, string> = {
      "Content-Type": part.isPacked ? "application/zip" : "application/octet-stream",
      ...(digest !== null && { "Content-Digest": `sha-256=:${btoa(String.fromCharCode(...digest))}:` }),
      ...(key !== null && { Authorization: `Bearer ${key}` }),
    };
    return JSON.parse(await putPart({ url: `${path}?${query}`, headers, body, ...transfer })).sha256;
  }

  /** The part's bytes. A large file is left to the browser, which reads it while it sends. */
  private async readPart(part: PlannedPart): Promise<ReadPart> {
    if (!part.isPacked) return { body: part.files[0]?.file ?? new Blob(), digest: null };
    const entries: Record<string, Uint8Array> = Object.create(null);
    await Promise.all(
      part.files.map(async ({ path, file }) => {
        try {
          entries[path] = new Uint8Array(await file.arrayBuffer());
        } catch (error) {
          // Deleted or locked since it was found: named at the end, and no reason to stop.
          if (!(error instanceof DOMException)) throw error;
          this.unreadable.push(path);
        }
      }),
    );
    const body = zipSync(entries, { level: 0, mtime: new Date(1980, 0, 2) }) as Uint8Array<ArrayBuffer>;
    return { body, digest: sha256(body) as Uint8Array<ArrayBuffer> };
  }
}
