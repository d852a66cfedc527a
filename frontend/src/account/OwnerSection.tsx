import { Button, Group, NumberInput, Stack, Table, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, bodyOf, type Owner } from "@/api/client";
import { ownersQuery } from "@/api/queries";
import { Dialog } from "@/common/Dialog";
import { ErrorNote } from "@/common/ErrorNote";
import { Listing } from "@/common/Listing";
import { Section } from "@/common/Section";
import { WideTable } from "@/common/WideTable";
import { changedQuotas, QUOTAS, type Quota } from "./quotas";

/** Everyone who has a key, with what they have; for administrators. */
export function OwnerSection() {
  const [cursor, setCursor] = useState<string>();
  const owners = useQuery(ownersQuery(cursor));
  return (
    <Section title="Owners">
      <Listing
        query={owners}
        what="the owners"
        cursor={cursor}
        onMove={(to) => setCursor(to ?? undefined)}
        empty={<Text c="dimmed">There is no owner yet: the first key of one makes it.</Text>}
      >
        {(rows) => <OwnerTable owners={rows} />}
      </Listing>
    </Section>
  );
}

function OwnerTable({ owners }: { owners: Owner[] }) {
  return (
    <WideTable minWidth="56rem">
      <Table verticalSpacing="xs" aria-label="Owners">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Owner</Table.Th>
            {QUOTAS.map(({ key, label }) => (
              <Table.Th key={key} ta="right">
                {label}
              </Table.Th>
            ))}
            <Table.Th>Quotas</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {owners.map((owner) => (
            <Table.Tr key={owner.name}>
              <Table.Th scope="row">{owner.name}</Table.Th>
              {QUOTAS.map(({ key, format }) => (
                <Table.Td key={key} ta="right">
                  {format(owner.usage[key])}
                  <Text size="xs" c="dimmed">
                    {owner.quotas[key] === null ? "no limit" : `of ${format(owner.quotas[key])}`}
                  </Text>
                </Table.Td>
              ))}
              <Table.Td>
                <ChangeQuotas owner={owner} />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </WideTable>
  );
}

const UNITS: Partial<Record<Quota, string>> = { bytes: "bytes", device_seconds: "seconds" };

function ChangeQuotas({ owner }: { owner: Owner }) {
  const [isOpen, setOpen] = useState(false);
  const [typed, setTyped] = useState<Partial<Record<Quota, number | string>>>({});
  const queryClient = useQueryClient();
  const change = useMutation({
    mutationFn: () =>
      bodyOf(
        api.PATCH("/owners/{name}/quotas", {
          params: { path: { name: owner.name } },
          body: changedQuotas(owner.quotas, typed),
        }),
      ),
    onSuccess: async () => {
      await Promise.all(["owners", "me"].map((kind) => queryClient.invalidateQueries({ queryKey: [kind] })));
      setTyped({});
      setOpen(false);
    },
  });
  return (
    <>
      <Button
        variant="default"
        size="xs"
        onClick={() => setOpen(true)}
        aria-label={`Change the quotas of ${owner.name}`}
      >
        Change
      </Button>
      <Dialog opened={isOpen} onClose={() => setOpen(false)} title={`Quotas of ${owner.name}`}>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            change.mutate();
          }}
        >
          <Stack gap="sm">
            <Text size="sm">What is left empty is as the deployment has it.</Text>
            {QUOTAS.map(({ key, label }) => (
              <NumberInput
                key={key}
                label={UNITS[key] ? `${label}, ${UNITS[key]}` : label}
                placeholder="as the deployment has it"
                value={typed[key] ?? owner.quotas[key] ?? ""}
                min={0}
                allowDecimal={false}
                thousandSeparator=","
                onChange={(value) => setTyped((before) => ({ ...before, [key]: value }))}
              />
            ))}
            {change.error && <ErrorNote error={change.error} />}
            <Group justify="flex-end">
              <Button type="submit" loading={change.isPending}>
                Set the quotas
              </Button>
            </Group>
          </Stack>
        </form>
      </Dialog>
    </>
  );
}
