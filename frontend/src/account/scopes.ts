import type { Scope } from "@/api/client";

/** What a key may do and what it may not, in the order in which each includes those before it. */
export const SCOPE_WORDS: Record<Scope, { may: string; mayNot: string | null }> = {
  read: {
    may: "It may look at everything of its owner, and download it.",
    mayNot:
      "It may not upload images or teachers, start, cancel, retry or delete anything, or make and revoke keys: the service refuses that.",
  },
  write: {
    may: "It may do everything with what belongs to its owner: upload, start, cancel and delete, and revoke keys.",
    mayNot: "It may not make keys or see what belongs to others: that takes an admin key.",
  },
  admin: {
    may: "It may do everything with everyone’s datasets, jobs and teachers, make keys, and set quotas.",
    mayNot: null,
  },
};

export const SCOPES = ["read", "write", "admin"] as const satisfies readonly Scope[];

/** Whether a key of this scope may change something. */
export function mayWrite(scope: Scope): boolean {
  return scope !== "read";
}
