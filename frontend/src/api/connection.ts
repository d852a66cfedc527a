import { useSyncExternalStore } from "react";

/** Whether the service answered the last request, told by every request there is. */
let lostAt: number | null = null;
const listeners = new Set<() => void>();

export function noteAnswer(): void {
  if (lostAt !== null) set(null);
}

export function noteSilence(): void {
  if (lostAt === null) set(Date.now());
}

function set(value: number | null): void {
  lostAt = value;
  for (const listener of listeners) listener();
}

/** When the connection was lost, in milliseconds since the epoch; null while it holds. */
export function useLostAt(): number | null {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => lostAt,
  );
}
