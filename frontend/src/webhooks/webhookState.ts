import type { Webhook } from "@/api/client";

export type WebhookState = "active" | "failing" | "switched off" | "disabled";

/** How an endpoint is doing; the service disables one that fails for days. */
export function webhookState(webhook: Webhook): WebhookState {
  if (webhook.active) return webhook.failing_since === null ? "active" : "failing";
  return webhook.disabled_reason === null ? "switched off" : "disabled";
}
