import { useSyncExternalStore } from "react";
import { api, bodyOf } from "@/api/client";
import { readKey } from "@/api/key";
import { meQuery, queryClient } from "@/api/queries";
import type { Dropped } from "./collect";
import type { Command, Report, Sent } from "./messages";
import { Throughput } from "./throughput";

export type UploadState = "reading" | "sending" | "pausing" | "paused" | "completing" | "done" | "failed";

/** One upload as the page shows it. A new object at every change. */
export interface Upload {
  id: number;
  name: string;
  state: UploadState;
  datasetId: string | null;
  files: number;
  bytes: number;
  sent: Sent;
  bytesPerSecond: number | null;
  secondsLeft: number | null;
  /** Of files that could not be read from the disk any more. */
  unreadable: readonly string[];
  error: string | null;
}

const NOTHING: Sent = { bytes: 0, files: 0, parts: 0, trouble: null };
const ACTIVE: ReadonlySet<UploadState> = new Set(["reading", "sending", "pausing", "paused", "completing"]);

const runs = new Map<number, Run>();
const listeners = new Set<() => void>();
let shown: readonly Upload[] = [];
let lastId = 0;

function publish(): void {
  shown = [...runs.values()].map(({ upload }) => upload);
  for (const listener of listeners) listener();
}

/** Begin an upload, or go on with one that was interrupted when `datasetId` names its dataset. */
export function startUpload(dropped: Dropped, datasetId: string | null): void {
  lastId += 1;
  const run = new Run(lastId, dropped, datasetId);
  runs.set(lastId, run);
  publish();
  void run.read(dropped);
}

export function pauseUpload(id: number): void {
  runs.get(id)?.pause();
}

export function resumeUpload(id: number): void {
  void runs.get(id)?.send();
}

/** Take an upload off the page. What has arrived stays on the service. */
export function dismissUpload(id: number): void {
  runs.get(id)?.end();
  runs.delete(id);
  publish();
}

export function useUploads(): readonly Upload[] {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => shown,
  );
}

export function isActive(upload: Upload): boolean {
  return ACTIVE.has(upload.state);
}

window.addEventListener("beforeunload", (event) => {
  if (shown.some(isActive)) event.preventDefault();
});

/** The page's half of an upload; the other half is the web worker. */
class Run {
  upload: Upload;
  private readonly worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  private throughput = new Throughput();

  constructor(id: number, dropped: Dropped, datasetId: string | null) {
    this.upload = {
      id,
      name: dropped.name ?? "images",
      state: "reading",
      datasetId,
      files: 0,
      bytes: 0,
      sent: NOTHING,
      bytesPerSecond: null,
      secondsLeft: null,
      unreadable: [],
      error: null,
    };
    this.worker.onmessage = ({ data }: MessageEvent<Report>) => void this.hear(data);
    this.worker.onerror = (event) =>
      this.fail(new Error(event.message || "The upload’s worker could not start."));
  }

  async read(dropped: Dropped): Promise<void> {
    try {
      for await (const found of dropped.batches) {
        this.command({ type: "found", found });
        this.change({ files: this.upload.files + found.length });
      }
      if (this.upload.files === 0) throw new Error("There is no file in what was dropped.");
      this.command({ type: "plan" });
    } catch (error) {
      this.fail(error as Error);
    }
  }

  async send(): Promise<void> {
    try {
      this.throughput = new Throughput();
      this.change({ state: "sending", error: null });
      const datasetId = this.upload.datasetId ?? (await this.makeDataset());
      const { data } = await bodyOf(
        api.GET("/datasets/{dataset_id}/parts", { params: { path: { dataset_id: datasetId } } }),
      );
      const { direct_uploads: isDirect } = await queryClient.ensureQueryData(meQuery);
      this.command({ type: "send", datasetId, key: readKey(), isDirect, arrived: data });
    } catch (error) {
      this.fail(error as Error);
    }
  }

  pause(): void {
    this.change({ state: "pausing" });
    this.command({ type: "pause" });
  }

  end(): void {
    this.worker.terminate();
  }

  private async makeDataset(): Promise<string> {
    const { id } = await bodyOf(api.POST("/datasets", { body: { name: this.upload.name } }));
    this.change({ datasetId: id });
    void queryClient.invalidateQueries({ queryKey: ["datasets"] });
    return id;
  }

  private async hear(report: Report): Promise<void> {
    switch (report.type) {
      case "planned":
        this.change({ files: report.files, bytes: report.bytes });
        return this.send();
      case "progress": {
        const rate = this.throughput.add(report.sent.bytes, performance.now());
        const left = this.upload.bytes - report.sent.bytes;
        return this.change({
          sent: report.sent,
          bytesPerSecond: rate,
          secondsLeft: rate ? left / rate : null,
        });
      }
      case "paused":
        return this.change({ state: "paused", bytesPerSecond: null, secondsLeft: null });
      case "sent":
        return this.complete(report);
      case "failed":
        return this.fail(new Error(report.message));
      default:
        report satisfies never;
    }
  }

  private async complete({ parts, unreadable }: Extract<Report, { type: "sent" }>): Promise<void> {
    const { datasetId } = this.upload;
    if (datasetId === null) return;
    this.change({ state: "completing", unreadable });
    try {
      await bodyOf(
        api.POST("/datasets/{dataset_id}/complete", {
          params: { path: { dataset_id: datasetId } },
          body: { parts },
        }),
      );
      this.change({ state: "done" });
      this.end();
      await queryClient.invalidateQueries({ queryKey: ["datasets"] });
    } catch (error) {
      this.fail(error as Error);
    }
  }

  private fail(error: Error): void {
    this.change({ state: "failed", error: error.message, bytesPerSecond: null, secondsLeft: null });
  }

  private command(command: Command): void {
    this.worker.postMessage(command);
  }

  private change(changed: Partial<Upload>): void {
    this.upload = { ...this.upload, ...changed };
    publish();
  }
}
