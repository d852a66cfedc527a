import { ScrollArea, Table, Text } from "@mantine/core";
import type { JobEvent } from "@/api/client";
import { formatMoment } from "@/common/format";

const MOST_SHOWN = 500;

/** States, phases, attempts and files, newest first. Training steps are in the curves, words in the log. */
export function EventList({ events }: { events: readonly JobEvent[] }) {
  if (events.length === 0) return <Text c="dimmed">Nothing has happened yet.</Text>;
  const shown = events
    .filter(({ type }) => type !== "log" && type !== "progress")
    .slice(-MOST_SHOWN)
    .reverse();
  return (
    <ScrollArea.Autosize mah="22rem" type="auto" viewportProps={{ tabIndex: 0 }}>
      <Table verticalSpacing={4} aria-label="Events, newest first">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Time</Table.Th>
            <Table.Th visibleFrom="sm">Attempt</Table.Th>
            <Table.Th>What</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {shown.map((event) => (
            <Table.Tr key={event.seq}>
              <Table.Td className="time">{formatMoment(event.created_at)}</Table.Td>
              <Table.Td visibleFrom="sm">{event.attempt}</Table.Td>
              <Table.Td className="wrap">
                {event.level !== "info" && <b>{event.level}: </b>}
                {event.message}
                {event.type === "attempt" && event.data.worker != null && ` Worker: ${event.data.worker}.`}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </ScrollArea.Autosize>
  );
}
