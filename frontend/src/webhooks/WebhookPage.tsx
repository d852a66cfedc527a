import { Alert, Group, Stack, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { AccountNav } from "@/account/AccountNav";
import { mayWrite } from "@/account/scopes";
import type { Webhook } from "@/api/client";
import { meQuery, webhookQuery } from "@/api/queries";
import { ErrorNote } from "@/common/ErrorNote";
import { formatMoment } from "@/common/format";
import { Loading } from "@/common/Loading";
import { usePageTitle } from "@/common/usePageTitle";
import { Deliveries } from "./Deliveries";
import { eventsInWords } from "./events";
import { WebhookActions } from "./WebhookActions";
import { WebhookBadge } from "./WebhookBadge";

const route = getRouteApi("/webhooks/$webhookId");

/** One endpoint, and what became of each message to it. */
export function WebhookPage() {
  const { webhookId } = route.useParams();
  const webhook = useQuery(webhookQuery(webhookId));
  usePageTitle(webhook.data?.url ?? webhookId);
  return (
    <Stack gap="md">
      <AccountNav />
      {webhook.error && <ErrorNote error={webhook.error} />}
      {webhook.isPending && <Loading what="the webhook" />}
      {webhook.data && <WebhookView webhook={webhook.data} />}
    </Stack>
  );
}

function WebhookView({ webhook }: { webhook: Webhook }) {
  const me = useQuery(meQuery);
  const canChange = me.data !== undefined && mayWrite(me.data.scope);
  return (
    <Stack gap="lg">
      <Stack gap="xs">
        <Group justify="space-between" align="flex-start">
          <Group gap="sm">
            <Title order={1}>{webhook.url}</Title>
            <WebhookBadge webhook={webhook} />
          </Group>
          {canChange && <WebhookActions webhook={webhook} />}
        </Group>
        {webhook.description && <Text>{webhook.description}</Text>}
        <Text size="sm" c="dimmed" className="wrap">
          <span className="mono">{webhook.id}</span> · {eventsInWords(webhook.events)} · created{" "}
          {formatMoment(webhook.created_at)}
        </Text>
      </Stack>
      {webhook.disabled_reason !== null && (
        <Alert color="red" title="The service disabled it">
          <Text className="wrap">{webhook.disabled_reason}</Text>
          <Text size="sm" mt="xs">
            Mend the receiver and switch it on again: what waits is sent then.
          </Text>
        </Alert>
      )}
      {webhook.active && webhook.failing_since !== null && (
        <Alert color="yellow" title={`Every try has failed since ${formatMoment(webhook.failing_since)}`}>
          What the receiver answered is below. The service goes on trying, and disables the webhook when this
          lasts for days.
        </Alert>
      )}
      {webhook.previous_secret_expires_at !== null && (
        <Text size="sm">
          Until {formatMoment(webhook.previous_secret_expires_at)} messages are signed with the secret before
          this one, too.
        </Text>
      )}
      <Deliveries webhook={webhook} canSend={canChange && webhook.active} />
    </Stack>
  );
}
