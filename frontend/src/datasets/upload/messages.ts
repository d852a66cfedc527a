import type { ArrivedPart, Found } from "./plan";

/** What the page tells the upload's web worker. */
export type Command =
  | { type: "found"; found: Found[] }
  | { type: "plan" }
  | { type: "send"; datasetId: string; key: string | null; isDirect: boolean; arrived: ArrivedPart[] }
  | { type: "pause" };

/** How far the upload is; told a few times a second. */
export interface Sent {
  bytes: number;
  files: number;
  parts: number;
  /** Why the parts under way are tried again; null while they go well. */
  trouble: string | null;
}

/** What the worker tells the page. */
export type Report =
  | { type: "planned"; files: number; bytes: number; parts: number }
  | { type: "progress"; sent: Sent }
  | { type: "paused" }
  | { type: "sent"; parts: { number: number; sha256: string }[]; unreadable: string[] }
  | { type: "failed"; message: string };
