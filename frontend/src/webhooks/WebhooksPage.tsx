import { Group, Stack, Table, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { AccountNav } from "@/account/AccountNav";
import { mayWrite } from "@/account/scopes";
import type { Webhook } from "@/api/client";
import { meQuery, webhooksQuery } from "@/api/queries";
import { EmptyState } from "@/common/EmptyState";
import { formatAge, formatMoment } from "@/common/format";
import { Listing } from "@/common/Listing";
import { useNow } from "@/common/useNow";
import { usePageTitle } from "@/common/usePageTitle";
import { WideTable } from "@/common/WideTable";
import { eventsInWords } from "./events";
import { NewWebhook } from "./NewWebhook";
import { Receiver } from "./Receiver";
import { WebhookBadge } from "./WebhookBadge";

const route = getRouteApi("/webhooks");

/** Endpoints that are told when something happens. */
export function WebhooksPage() {
  usePageTitle("Webhooks");
  const { cursor } = route.useSearch();
  const navigate = route.useNavigate();
  const me = useQuery(meQuery);
  const webhooks = useQuery(webhooksQuery(cursor));
  return (
    <Stack gap="md">
      <AccountNav />
      <Group justify="space-between">
        <Title order={1}>Webhooks</Title>
        {me.data && mayWrite(me.data.scope) && <NewWebhook />}
      </Group>
      <Listing
        query={webhooks}
        what="the webhooks"
        cursor={cursor}
        onMove={(to) => navigate({ search: to ? { cursor: to } : {} })}
        empty={cursor === undefined ? <NoWebhooks /> : <Text>There are no older ones.</Text>}
      >
        {(rows) => (
          <>
            <WebhookTable
              webhooks={rows}
              showsOwner={me.data?.scope === "admin" && me.data.key_id !== null}
            />
            <details>
              <summary>What a receiver must do</summary>
              <Stack mt="sm" maw="60rem">
                <Receiver />
              </Stack>
            </details>
          </>
        )}
      </Listing>
    </Stack>
  );
}

function WebhookTable({ webhooks, showsOwner }: { webhooks: Webhook[]; showsOwner: boolean }) {
  const now = useNow(10_000);
  return (
    <WideTable minWidth="48rem">
      <Table highlightOnHover verticalSpacing="xs" aria-label="Webhooks, newest first">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>URL</Table.Th>
            <Table.Th>State</Table.Th>
            <Table.Th>Events</Table.Th>
            {showsOwner && <Table.Th>Owner</Table.Th>}
            <Table.Th>Created</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {webhooks.map((webhook) => (
            <Table.Tr key={webhook.id}>
              <Table.Td maw="24rem" className="wrap">
                <Link to="/webhooks/$webhookId" params={{ webhookId: webhook.id }} className="row-link">
                  {webhook.url}
                </Link>
                {webhook.description && (
                  <Text size="xs" c="dimmed">
                    {webhook.description}
                  </Text>
                )}
              </Table.Td>
              <Table.Td>
                <WebhookBadge webhook={webhook} />
              </Table.Td>
              <Table.Td>{eventsInWords(webhook.events)}</Table.Td>
              {showsOwner && <Table.Td>{webhook.owner}</Table.Td>}
              <Table.Td title={formatMoment(webhook.created_at)}>
                {formatAge(webhook.created_at, now)}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </WideTable>
  );
}

function NoWebhooks() {
  return (
    <EmptyState title="No webhooks yet">
      <Text>
        Instead of asking again and again, be told: the service sends a signed message to an address of yours
        when a job starts or ends, or a dataset is ready. A chat, a pipeline or a script can take it from
        there.
      </Text>
      <Receiver />
    </EmptyState>
  );
}
