import { expect, test } from "vitest";
import type { ApiKey } from "@/api/client";
import { expiryOf, keyState } from "./keyState";

const NOW = Date.parse("2026-03-01T12:00:00Z");
const key = (changed: Partial<ApiKey>): ApiKey => ({
  id: "key_1",
  owner: "lab",
  name: "laptop",
  scope: "write",
  prefix: "wcl_1",
  created_at: "2026-01-01T00:00:00Z",
  expires_at: null,
  last_used_at: null,
  revoked_at: null,
  ...changed,
});

test.each([
  [{}, "active"],
  [{ expires_at: "2026-03-01T12:00:01Z" }, "active"],
  [{ expires_at: "2026-03-01T12:00:00Z" }, "expired"],
  [{ expires_at: "2026-01-01T00:00:00Z", revoked_at: "2026-02-01T00:00:00Z" }, "revoked"],
] as const)("a key with %o is %s", (changed, state) => {
  expect(keyState(key(changed), NOW)).toBe(state);
});

test("a lifetime is counted from now; without one a key is good for ever", () => {
  expect(expiryOf(7, NOW)).toBe("2026-03-08T12:00:00.000Z");
  expect(expiryOf(null, NOW)).toBeNull();
});
