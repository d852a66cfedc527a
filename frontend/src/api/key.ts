import { useSyncExternalStore } from "react";

/** The API key, for services that ask for one. It lives in this tab's session storage and ends with the tab. */
const PLACE = "wecolora.key";
const listeners = new Set<() => void>();

export function readKey(): string | null {
  return sessionStorage.getItem(PLACE);
}

export function storeKey(key: string | null): void {
  if (key === null) sessionStorage.removeItem(PLACE);
  else sessionStorage.setItem(PLACE, key);
  for (const listener of listeners) listener();
}

export function useKey(): string | null {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, readKey);
}
