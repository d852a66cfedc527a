import type { ApiKey } from "@/api/client";

export type KeyState = "active" | "expired" | "revoked";

/** Whether a key is good at this time, in milliseconds since the epoch. */
export function keyState({ revoked_at, expires_at }: ApiKey, now: number): KeyState {
  if (revoked_at !== null) return "revoked";
  if (expires_at !== null && new Date(expires_at).getTime() <= now) return "expired";
  return "active";
}

/** How long a new key may be good for, in days; null is for ever. */
export const LIFETIMES: readonly { label: string; days: number | null }[] = [
  { label: "never", days: null },
  { label: "in 7 days", days: 7 },
  { label: "in 30 days", days: 30 },
  { label: "in 90 days", days: 90 },
  { label: "in a year", days: 365 },
];

export function expiryOf(days: number | null, now: number): string | null {
  return days === null ? null : new Date(now + days * 86_400_000).toISOString();
}
