import { createEventSource, type EventSourceClient } from "eventsource-client";
import { fetchFromApi, type JobEvent, type JobState } from "@/api/client";
import { ApiError, isPassing } from "@/api/errors";
import { ENDED } from "@/api/queries";
import { addPoints, type Curves, type MetricPoint, NO_CURVES, toPoint } from "./curves";

export type StreamState = "connecting" | "live" | "lost" | "ended";

/** What the event stream has told of a job so far. A new object at every change. */
export interface Told {
  stream: StreamState;
  curves: Curves;
  /** Everything but metrics, in order. */
  events: readonly JobEvent[];
  /** Counts up with the state: what the job's row says has changed. */
  changes: number;
}

const FLUSH_MS = 100;
/** The service sends a comment at least every 15 seconds; a connection that is silent for longer is dead. */
const SILENCE_MS = 40_000;

/**
 * Follows one job's events over server-sent events, with the key and with reconnection where it left off.
 *
 * Events come faster than a page is drawn when an old job is replayed; listeners are told ten times a second at most.
 */
export class EventLog {
  private told: Told = { stream: "connecting", curves: NO_CURVES, events: [], changes: 0 };
  private readonly curves: Curves = { step: [], loss: [], lr: [] };
  private points: MetricPoint[] = [];
  private events: JobEvent[] = [];
  private lastSeq = 0;
  private isOver = false;
  private stream: StreamState = "connecting";
  private source: EventSourceClient | null = null;
  private flushTimer: ReturnType<typeof setTimeout> | undefined;
  private silenceTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners = new Set<() => void>();

  constructor(private readonly url: string) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    if (this.listeners.size === 1) this.open();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.close();
    };
  };

  readonly read = (): Told => this.told;

  /** Listen again to a job that had ended and was queued again. */
  readonly goOn = (): void => {
    if (this.stream !== "ended") return;
    this.close();
    this.become("connecting");
    this.open();
  };

  private open(): void {
    if (this.stream === "ended") return;
    this.source = createEventSource({
      url: new URL(this.url, location.origin),
      ...(this.lastSeq > 0 && { initialLastEventId: String(this.lastSeq) }),
      fetch: (url, init) => this.fetch(String(url), init as RequestInit),
      onMessage: ({ data }) => this.take(JSON.parse(data) as JobEvent),
      onComment: () => this.hear(),
      onConnect: () => this.hear(),
      // After the last event the service ends the stream, and says so (204) when it is asked for once more.
      onScheduleReconnect: () => this.become(this.isOver ? "ended" : "lost"),
    });
  }

  private async fetch(url: string, init: RequestInit): Promise<Response> {
    try {
      const response = await fetchFromApi(url, init);
      this.become(response.status === 204 ? "ended" : "live");
      return response;
    } catch (error) {
      // A job that is gone, or a key that is good no more: asking again would change nothing.
      if (error instanceof ApiError && !isPassing(error)) {
        this.become("ended");
        this.close();
      }
      throw error;
    }
  }

  private close(): void {
    clearTimeout(this.silenceTimer);
    this.source?.close();
    this.source = null;
  }

  private hear(): void {
    clearTimeout(this.silenceTimer);
    if (this.stream === "ended") return;
    this.silenceTimer = setTimeout(() => {
      this.close();
      this.become("lost");
      this.open();
    }, SILENCE_MS);
  }

  private take(event: JobEvent): void {
    if (event.seq <= this.lastSeq) return;
    this.lastSeq = event.seq;
    this.hear();
    const point = event.type === "metric" ? toPoint(event.data) : null;
    if (point === null) this.events.push(event);
    else this.points.push(point);
    // A job that was tried again has ended before: only the newest state counts.
    if (event.type === "state") this.isOver = ENDED.has(event.data.state as JobState);
    this.scheduleFlush();
  }

  private become(stream: StreamState): void {
    if (this.stream === stream) return;
    this.stream = stream;
    this.scheduleFlush();
  }

  private scheduleFlush(): void {
    if (this.flushTimer === undefined) this.flushTimer = setTimeout(() => this.flush(), FLUSH_MS);
  }

  private flush(): void {
    this.flushTimer = undefined;
    addPoints(this.curves, this.points);
    const hasState = this.events.some(({ type }) => type !== "log");
    this.told = {
      stream: this.stream,
      // The columns are the same arrays; the object around them is new, which is what a chart looks at.
      curves: this.points.length > 0 ? { ...this.curves } : this.told.curves,
      events: this.events.length > 0 ? [...this.told.events, ...this.events] : this.told.events,
      changes: this.told.changes + (hasState ? 1 : 0),
    };
    this.points = [];
    this.events = [];
    for (const listener of this.listeners) listener();
  }
}
