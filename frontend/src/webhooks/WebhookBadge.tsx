import type { Webhook } from "@/api/client";
import { ToneBadge } from "@/common/ToneBadge";
import { type WebhookState, webhookState } from "./webhookState";

const TONES: Record<WebhookState, string> = {
  active: "good",
  failing: "warning",
  "switched off": "idle",
  disabled: "bad",
};

export function WebhookBadge({ webhook }: { webhook: Webhook }) {
  const state = webhookState(webhook);
  return <ToneBadge tone={TONES[state]}>{state}</ToneBadge>;
}
