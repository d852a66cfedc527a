/** The web worker of one upload: divides, packs, hashes and sends, so that the page never has to wait for it. */
import type { Command, Report } from "./messages";
import { type Found, planParts } from "./plan";
import { Sender } from "./sender";

const REPORT_MS = 200;

const found: Found[] = [];
let sender: Sender | null = null;
let stop = new AbortController();
let reportTimer: ReturnType<typeof setTimeout> | undefined;

self.onmessage = ({ data }: MessageEvent<Command>) => {
  switch (data.type) {
    case "found":
      found.push(...data.found);
      break;
    case "plan":
      plan();
      break;
    case "send":
      void send(data);
      break;
    case "pause":
      stop.abort();
      break;
    default:
      data satisfies never;
  }
};

function tell(report: Report): void {
  self.postMessage(report);
}

function plan(): void {
  try {
    const parts = planParts(found);
    sender = new Sender(parts, () => {
      if (reportTimer === undefined) reportTimer = setTimeout(tellProgress, REPORT_MS);
    });
    const bytes = parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    tell({ type: "planned", files: found.length, bytes, parts: parts.length });
  } catch (error) {
    tell({ type: "failed", message: (error as Error).message });
  }
}

function tellProgress(): void {
  reportTimer = undefined;
  if (sender !== null) tell({ type: "progress", sent: sender.sent });
}

async function send({ arrived, ...target }: Extract<Command, { type: "send" }>): Promise<void> {
  if (sender === null) throw new Error("Nothing was planned.");
  stop = new AbortController();
  try {
    await sender.send(target, arrived, stop.signal);
    tellProgress();
    tell({ type: "sent", parts: sender.arrived, unreadable: sender.unreadable });
  } catch (error) {
    tellProgress();
    if (stop.signal.aborted) tell({ type: "paused" });
    else tell({ type: "failed", message: (error as Error).message });
  }
}
