import { Progress, Table, Text } from "@mantine/core";
import type { Owner } from "@/api/client";
import { QUOTAS, shareUsed } from "./quotas";

const NEARLY_FULL = 0.9;

/** What an owner has of what it may have. */
export function UsageTable({ owner }: { owner: Owner }) {
  return (
    <Table maw="60rem" verticalSpacing="sm" aria-label="Usage and quotas">
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Quota</Table.Th>
          <Table.Th ta="right">Used</Table.Th>
          <Table.Th ta="right">Of</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {QUOTAS.map(({ key, label, text, format }) => {
          const [used, most] = [owner.usage[key], owner.quotas[key]];
          const share = shareUsed(used, most);
          const isFull = share !== null && share >= NEARLY_FULL;
          return (
            <Table.Tr key={key}>
              <Table.Th scope="row">
                {label}
                {key === "device_seconds" && `, ${owner.period_days} days`}
                <Text size="xs" c="dimmed" fw={400}>
                  {text}
                </Text>
                {share !== null && (
                  <Progress
                    mt={6}
                    value={100 * share}
                    color={isFull ? "var(--tone-warning)" : "accent"}
                    aria-label={`${label}: ${Math.round(100 * share)} % used`}
                  />
                )}
              </Table.Th>
              <Table.Td ta="right" fw={600} className="time">
                {format(used)}
              </Table.Td>
              <Table.Td ta="right" className="time">
                {most === null ? "no limit" : format(most)}
              </Table.Td>
            </Table.Tr>
          );
        })}
      </Table.Tbody>
    </Table>
  );
}
