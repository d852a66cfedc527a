import { ScrollArea, Table } from "@mantine/core";
import classes from "./BarTable.module.css";
import { formatCount } from "./format";

export interface Bar {
  name: string;
  count: number;
}

interface Props {
  /** What is counted, as the table's name. */
  label: string;
  /** Of the column with the names. */
  head: string;
  bars: readonly Bar[];
}

/** Counts with bars beside them: a chart that is a table, for eyes and ears alike. */
export function BarTable({ label, head, bars }: Props) {
  const most = Math.max(1, ...bars.map(({ count }) => count));
  return (
    <ScrollArea.Autosize mah="20rem" type="auto" viewportProps={{ tabIndex: 0, "aria-label": label }}>
      <Table verticalSpacing={3} withRowBorders={false} aria-label={label}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th className={classes.name}>{head}</Table.Th>
            <Table.Th ta="right" w="1%">
              Images
            </Table.Th>
            <Table.Th aria-hidden />
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {bars.map(({ name, count }) => (
            <Table.Tr key={name}>
              <Table.Th scope="row" fw={400} className={`${classes.name} cut`} title={name}>
                {name}
              </Table.Th>
              <Table.Td ta="right">{formatCount(count)}</Table.Td>
              <Table.Td aria-hidden>
                <div
                  className={`${classes.bar} ${count === 0 ? classes.empty : ""}`}
                  style={{ width: `${(100 * count) / most}%` }}
                />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </ScrollArea.Autosize>
  );
}
