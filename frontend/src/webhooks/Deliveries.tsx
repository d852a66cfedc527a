import { Button, Group, Select, Stack, Table, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { api, bodyOf, type Delivery, type DeliveryState, type Webhook } from "@/api/client";
import { deliveriesQuery } from "@/api/queries";
import { ErrorNote } from "@/common/ErrorNote";
import { formatAge, formatMoment, formatSeconds } from "@/common/format";
import { Listing } from "@/common/Listing";
import { Section } from "@/common/Section";
import { ToneBadge } from "@/common/ToneBadge";
import { useNow } from "@/common/useNow";
import { WideTable } from "@/common/WideTable";

const DELIVERY_STATES: readonly DeliveryState[] = ["pending", "delivered", "failed"];
const TONES: Record<DeliveryState, string> = { pending: "accent", delivered: "good", failed: "bad" };

const route = getRouteApi("/webhooks/$webhookId");

interface Props {
  webhook: Webhook;
  /** Whether messages can be sent again. */
  canSend: boolean;
}

/** The log of an endpoint: every event, with what was answered at each try. */
export function Deliveries({ webhook, canSend }: Props) {
  const { state, cursor } = route.useSearch();
  const navigate = route.useNavigate();
  const deliveries = useQuery(deliveriesQuery(webhook.id, { state, cursor }));
  return (
    <Section title="Deliveries">
      <Select
        aria-label="State of the deliveries"
        placeholder="All states"
        data={DELIVERY_STATES}
        clearable
        clearButtonProps={{ "aria-label": "Show all states" }}
        value={state ?? null}
        onChange={(chosen) => {
          const wanted = DELIVERY_STATES.find((each) => each === chosen);
          void navigate({ search: wanted ? { state: wanted } : {}, replace: true });
        }}
        w="11rem"
      />
      <Listing
        query={deliveries}
        what="the deliveries"
        cursor={cursor}
        onMove={(to) => navigate({ search: { ...(state && { state }), ...(to && { cursor: to }) } })}
        empty={
          <Text c="dimmed">
            {state || cursor
              ? "No delivery fits."
              : "Nothing was sent yet. “Send a test” shows at once whether your receiver is reached."}
          </Text>
        }
      >
        {(rows) => <DeliveryTable deliveries={rows} canSend={canSend} />}
      </Listing>
    </Section>
  );
}

function DeliveryTable({ deliveries, canSend }: { deliveries: Delivery[]; canSend: boolean }) {
  const now = useNow(1000);
  return (
    <WideTable minWidth="58rem">
      <Table verticalSpacing="xs" aria-label="Deliveries, newest first">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Event</Table.Th>
            <Table.Th>About</Table.Th>
            <Table.Th>State</Table.Th>
            <Table.Th>Tries</Table.Th>
            <Table.Th>Happened</Table.Th>
            {canSend && <Table.Th>Again</Table.Th>}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {deliveries.map((delivery) => (
            <Table.Tr key={delivery.id}>
              <Table.Td title={delivery.event_id}>{delivery.type}</Table.Td>
              <Table.Td className="mono wrap">{String(delivery.data.id ?? "–")}</Table.Td>
              <Table.Td>
                <ToneBadge tone={TONES[delivery.state]}>
                  {delivery.is_being_sent ? "being sent" : delivery.state}
                </ToneBadge>
                {delivery.state === "pending" && delivery.next_attempt_at && !delivery.is_being_sent && (
                  <Text size="xs" c="dimmed" title={formatMoment(delivery.next_attempt_at)}>
                    next try {formatAge(delivery.next_attempt_at, now)}
                  </Text>
                )}
              </Table.Td>
              <Table.Td>
                <Tries delivery={delivery} />
              </Table.Td>
              <Table.Td title={formatMoment(delivery.happened_at)}>
                {formatAge(delivery.happened_at, now)}
              </Table.Td>
              {canSend && (
                <Table.Td>
                  <SendAgain delivery={delivery} />
                </Table.Td>
              )}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </WideTable>
  );
}

/** The last answer, and those before it folded. */
function Tries({ delivery }: { delivery: Delivery }) {
  const inOrder = [...delivery.attempts].sort((a, b) => b.attempt - a.attempt);
  const [last, ...before] = inOrder;
  if (last === undefined) return <Text c="dimmed">none has ended yet</Text>;
  return (
    <Stack gap={2}>
      <Try tried={last} />
      {before.length > 0 && (
        <details>
          <summary>{before.length} before it</summary>
          {before.map((tried) => (
            <Try key={tried.attempt} tried={tried} />
          ))}
        </details>
      )}
    </Stack>
  );
}

function Try({ tried }: { tried: Delivery["attempts"][number] }) {
  const { attempt, status_code, error, seconds, at } = tried;
  return (
    <Text size="sm" className="wrap" title={formatMoment(at)}>
      {attempt}. {error === null ? "taken" : "failed"}
      {status_code !== null && ` with ${status_code}`} after {formatSeconds(seconds)}
      {error !== null && `: ${error}`}
    </Text>
  );
}

function SendAgain({ delivery }: { delivery: Delivery }) {
  const queryClient = useQueryClient();
  const path = { webhook_id: delivery.webhook_id, delivery_id: delivery.id };
  const send = useMutation({
    mutationFn: () =>
      bodyOf(api.POST("/webhooks/{webhook_id}/deliveries/{delivery_id}/retry", { params: { path } })),
    onSuccess: () => queryClient.invalidateQueries({ queryKey: ["webhooks", delivery.webhook_id] }),
  });
  return (
    <Group gap="xs">
      <Button
        variant="default"
        size="xs"
        loading={send.isPending}
        disabled={delivery.is_being_sent}
        onClick={() => send.mutate()}
        aria-label={`Send again: ${delivery.type} of ${formatMoment(delivery.happened_at)}`}
      >
        Send again
      </Button>
      {send.error && <ErrorNote error={send.error} />}
    </Group>
  );
}
