import { afterEach, expect, test, vi } from "vitest";
import { EventLog } from "./eventLog";

// What the module looks for in a browser, before it is loaded.
vi.hoisted(() => {
  vi.stubGlobal("location", { origin: "http://service.test" });
  vi.stubGlobal("sessionStorage", { getItem: () => "wcl_key" });
});

const event = (seq: number, type: string, data: object) =>
  `id: ${seq}\nevent: ${type}\ndata: ${JSON.stringify({ seq, type, data, attempt: 1, level: "info", message: "", created_at: "2026-01-01T00:00:00Z" })}\n\n`;
const metric = (seq: number, step: number) => event(seq, "metric", { step, loss: 1 / step, lr: 0.001 });

/** Answers each request with the next body, and with 204 when there is none left. */
function serve(bodies: string[]) {
  const requests: Request[] = [];
  vi.stubGlobal("fetch", async (request: Request) => {
    requests.push(request);
    const body = bodies.shift();
    return body === undefined
      ? new Response(null, { status: 204 })
      : new Response(`retry: 1\n\n${body}`, { headers: { "content-type": "text/event-stream" } });
  });
  return requests;
}

async function follow(log: EventLog): Promise<() => void> {
  const stop = log.subscribe(() => {});
  await vi.waitFor(() => expect(log.read().stream).toBe("ended"), 5000);
  return stop;
}

afterEach(() => vi.unstubAllGlobals);

test("a stream that breaks goes on after the last event, with the key, and repeats nothing", async () => {
  const requests = serve([
    event(1, "state", { state: "running" }) + metric(2, 10) + metric(3, 20),
    metric(3, 20) + metric(4, 30) + event(5, "state", { state: "succeeded" }),
  ]);
  const log = new EventLog("/jobs/job_1/events");
  (await follow(log))();
  expect(requests.map((request) => request.headers.get("last-event-id"))).toEqual([null, "3", "5"]);
  expect(requests.every((request) => request.headers.get("authorization") === "Bearer wcl_key")).toBe(true);
  expect(log.read().curves.step).toEqual([10, 20, 30]);
  expect(log.read().events.map(({ seq }) => seq)).toEqual([1, 5]);
});

test("a job that was cancelled and tried again is followed beyond its first end", async () => {
  serve([
    event(1, "state", { state: "cancelled" }) +
      event(2, "state", { state: "queued" }) +
      metric(3, 10) +
      event(4, "state", { state: "succeeded" }),
  ]);
  const log = new EventLog("/jobs/job_1/events");
  (await follow(log))();
  expect(log.read().events.map(({ seq }) => seq)).toEqual([1, 2, 4]);
  expect(log.read().curves.step).toEqual([10]);
});

test("a job that is gone is not asked for again", async () => {
  let asked = 0;
  vi.stubGlobal("fetch", async () => {
    asked += 1;
    return new Response("{}", { status: 404, headers: { "content-type": "application/problem+json" } });
  });
  const log = new EventLog("/jobs/job_1/events");
  const stop = await follow(log);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(asked).toBe(1);
  stop();
});
