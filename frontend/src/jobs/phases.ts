import type { JobEvent, Phase } from "@/api/client";

/** How long each phase of the newest attempt has taken, in seconds; of the running one, until `now`. */
export function phaseSeconds(events: readonly JobEvent[], now: number): Map<Phase, number> {
  const spent = new Map<Phase, number>();
  let phase: Phase | null = null;
  let since = 0;
  const leave = (at: number) => {
    if (phase !== null) spent.set(phase, (spent.get(phase) ?? 0) + Math.max(0, at - since) / 1000);
    phase = null;
  };
  for (const event of events) {
    const at = new Date(event.created_at).getTime();
    if (event.type === "attempt") spent.clear();
    if (event.type === "phase" || event.type === "state") leave(at);
    if (event.type === "phase") {
      phase = event.data.phase as Phase;
      since = at;
    }
  }
  leave(now);
  return spent;
}
