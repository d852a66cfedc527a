import type { Job } from "@/api/client";
import { formatShare } from "@/common/format";

/** A job's `progress`, which the OpenAPI document leaves open: see docs/api.md. */
export interface Progress {
  activity: string;
  step: number;
  total_steps: number;
  images_per_second: number | null;
  seconds_left: number | null;
}

export function progressOf(job: Job): Progress | null {
  const progress = job.progress as Partial<Progress> | null;
  if (progress === null || typeof progress.step !== "number" || typeof progress.total_steps !== "number") {
    return null;
  }
  return {
    activity: progress.activity ?? "",
    step: progress.step,
    total_steps: progress.total_steps,
    images_per_second: progress.images_per_second ?? null,
    seconds_left: progress.seconds_left ?? null,
  };
}

/** How much of the phase is done, in words; empty where that is not known. */
export function shareDone(job: Job): string {
  const progress = job.state === "running" ? progressOf(job) : null;
  return progress === null || progress.total_steps === 0
    ? ""
    : formatShare(progress.step / progress.total_steps);
}
