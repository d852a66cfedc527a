import { Badge } from "@mantine/core";
import type { Webhook } from "@/api/client";
import { type WebhookState, webhookState } from "./webhookState";

const TONES: Record<WebhookState, string> = {
  active: "good",
  failing: "warning",
  "switched off": "idle",
  disabled: "bad",
};

export function WebhookBadge({ webhook }: { webhook: Webhook }) {
  const state = webhookState(webhook);
  return (
    <Badge variant="outline" color={`var(--tone-${TONES[state]})`} tt="none" radius="sm" miw="max-content">
      {state}
    </Badge>
  );
}
