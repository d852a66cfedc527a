import { Button, Group, Stack, Table, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { type ApiKey, api, bodyOf, type Me } from "@/api/client";
import { keysQuery } from "@/api/queries";
import { ConfirmButton } from "@/common/ConfirmButton";
import { ErrorNote } from "@/common/ErrorNote";
import { formatAge, formatMoment } from "@/common/format";
import { Listing } from "@/common/Listing";
import { Section } from "@/common/Section";
import { ToneBadge } from "@/common/ToneBadge";
import { useNow } from "@/common/useNow";
import { WideTable } from "@/common/WideTable";
import { type KeyState, keyState } from "./keyState";
import { NewKey } from "./NewKey";
import { mayWrite, SCOPE_WORDS } from "./scopes";

const TONES: Record<KeyState, string> = { active: "good", expired: "idle", revoked: "bad" };

/** The key in use, and all keys that it may see. */
export function KeySection({ me, onForget }: { me: Me; onForget: () => void }) {
  const [cursor, setCursor] = useState<string>();
  const keys = useQuery(keysQuery(cursor));
  const { may, mayNot } = SCOPE_WORDS[me.scope];
  return (
    <Section title="API keys">
      <Stack gap={4}>
        <Text>
          This tab uses a key of scope <b>{me.scope}</b>. {may}
        </Text>
        {mayNot !== null && <Text>{mayNot}</Text>}
      </Stack>
      <Group gap="xs">
        {me.scope === "admin" && <NewKey owner={me.owner.name} />}
        <Button variant="default" onClick={onForget}>
          Forget the key in this tab
        </Button>
      </Group>
      <Listing
        query={keys}
        what="the keys"
        cursor={cursor}
        onMove={(to) => setCursor(to ?? undefined)}
        empty={<Text c="dimmed">There is no key.</Text>}
      >
        {(rows) => <KeyTable keys={rows} me={me} />}
      </Listing>
    </Section>
  );
}

function KeyTable({ keys, me }: { keys: ApiKey[]; me: Me }) {
  const now = useNow(10_000);
  return (
    <WideTable minWidth="52rem">
      <Table verticalSpacing="xs" aria-label="API keys, newest first">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Name</Table.Th>
            <Table.Th>Begins with</Table.Th>
            <Table.Th>Owner</Table.Th>
            <Table.Th>Scope</Table.Th>
            <Table.Th>State</Table.Th>
            <Table.Th>Last used</Table.Th>
            <Table.Th>Expires</Table.Th>
            <Table.Th>Revoke</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {keys.map((key) => {
            const state = keyState(key, now);
            const isOwn = key.id === me.key_id;
            return (
              <Table.Tr key={key.id}>
                <Table.Td className="wrap" title={`Made ${formatMoment(key.created_at)}`}>
                  {key.name}
                  {isOwn && <b> (this one)</b>}
                </Table.Td>
                <Table.Td className="mono">{key.prefix}</Table.Td>
                <Table.Td>{key.owner}</Table.Td>
                <Table.Td>{key.scope}</Table.Td>
                <Table.Td>
                  <ToneBadge tone={TONES[state]}>{state}</ToneBadge>
                </Table.Td>
                <Table.Td title={formatMoment(key.last_used_at)}>
                  {key.last_used_at ? formatAge(key.last_used_at, now) : "never"}
                </Table.Td>
                <Table.Td title={formatMoment(key.expires_at)}>
                  {key.expires_at ? formatAge(key.expires_at, now) : "never"}
                </Table.Td>
                <Table.Td>
                  {state === "active" && mayWrite(me.scope) && <Revoke apiKey={key} isOwn={isOwn} />}
                </Table.Td>
              </Table.Tr>
            );
          })}
        </Table.Tbody>
      </Table>
    </WideTable>
  );
}

function Revoke({ apiKey, isOwn }: { apiKey: ApiKey; isOwn: boolean }) {
  const queryClient = useQueryClient();
  const revoke = useMutation({
    mutationFn: () => bodyOf(api.DELETE("/keys/{key_id}", { params: { path: { key_id: apiKey.id } } })),
    onSuccess: () => queryClient.invalidateQueries({ queryKey: [isOwn ? "me" : "keys"] }),
  });
  return (
    <>
      <ConfirmButton
        label="Revoke the key"
        question={`Revoke the key “${apiKey.name}”?`}
        isPending={revoke.isPending}
        onConfirm={() => revoke.mutate()}
        size="xs"
        aria-label={`Revoke the key ${apiKey.name}`}
      >
        Whatever uses it is refused at once, and it cannot be given back.
        {isOwn && " It is the key of this tab, which will ask for another one."}
      </ConfirmButton>
      {revoke.error && <ErrorNote error={revoke.error} />}
    </>
  );
}
