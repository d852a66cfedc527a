import { Button, Group, ScrollArea, Table, Text } from "@mantine/core";
import { useState } from "react";
import { toCsv } from "@/common/csv";
import { formatCount, formatNumber } from "@/common/format";
import { saveBlob } from "@/common/saveBlob";
import { type Curves, sampleRows } from "./curves";

const MOST_ROWS = 50;

/** The curves as numbers: for a screen reader, and for a spreadsheet. */
export function CurveTable({ curves }: { curves: Curves }) {
  const [isOpen, setOpen] = useState(false);
  const rows = isOpen ? sampleRows(curves.step.length, MOST_ROWS) : [];
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>The numbers</summary>
      {isOpen && (
        <>
          <Group gap="sm" my="sm">
            <Button variant="default" size="xs" onClick={() => save(curves)}>
              Save all steps as CSV
            </Button>
            <Text size="sm" c="dimmed">
              {rows.length < curves.step.length
                ? `${rows.length} of ${formatCount(curves.step.length)} reported steps, evenly taken.`
                : `All ${formatCount(rows.length)} reported steps.`}
            </Text>
          </Group>
          <ScrollArea.Autosize mah="20rem" type="auto" viewportProps={{ tabIndex: 0 }}>
            <Table maw="32rem" verticalSpacing={4} aria-label="Loss and learning rate by step">
              <Table.Thead>
                <Table.Tr>
                  <Table.Th ta="right">Step</Table.Th>
                  <Table.Th ta="right">Loss</Table.Th>
                  <Table.Th ta="right">Learning rate</Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {rows.map((row) => (
                  <Table.Tr key={curves.step[row]}>
                    <Table.Th scope="row" fw={400} ta="right">
                      {formatCount(curves.step[row])}
                    </Table.Th>
                    <Table.Td ta="right">{formatNumber(curves.loss[row])}</Table.Td>
                    <Table.Td ta="right">{formatNumber(curves.lr[row])}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </ScrollArea.Autosize>
        </>
      )}
    </details>
  );
}

function save({ step, loss, lr }: Curves): void {
  const rows = step.map((each, row) => ({ step: each, loss: loss[row] ?? null, lr: lr[row] ?? null }));
  saveBlob(new Blob([toCsv(["step", "loss", "lr"], rows)], { type: "text/csv" }), "training.csv");
}
