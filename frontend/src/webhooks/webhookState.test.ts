import { expect, test } from "vitest";
import type { Webhook } from "@/api/client";
import { webhookState } from "./webhookState";

const webhook: Webhook = {
  id: "wh_1",
  owner: "lab",
  url: "https://example.com/wecolora",
  description: null,
  events: ["job.failed"],
  active: true,
  disabled_reason: null,
  failing_since: null,
  previous_secret_expires_at: null,
  created_at: "2026-01-01T00:00:00Z",
  updated_at: "2026-01-01T00:00:00Z",
  links: {},
};

test.each([
  [{}, "active"],
  [{ failing_since: "2026-01-02T00:00:00Z" }, "failing"],
  [{ active: false }, "switched off"],
  [{ active: false, failing_since: "2026-01-02T00:00:00Z" }, "switched off"],
  [{ active: false, disabled_reason: "it answered 410" }, "disabled"],
] as const)("an endpoint with %o is %s", (changed, state) => {
  expect(webhookState({ ...webhook, ...changed })).toBe(state);
});
