import { Button, Group, Table, Text, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { LeftOutKind } from "@/api/client";
import { leftOutQuery } from "@/api/queries";
import { ErrorNote } from "@/common/ErrorNote";
import { Loading } from "@/common/Loading";
import { Section } from "@/common/Section";
import { placeInList } from "./placeInList";

const PAGE = 25;
const PAUSE_MS = 250;

interface Props {
  datasetId: string;
  kind: LeftOutKind;
  title: string;
  /** How many there are in all. */
  count: number;
}

/** Files with reasons: the service searches all of them, and gives them page by page. */
export function LeftOutFiles({ datasetId, kind, title, count }: Props) {
  const [typed, setTyped] = useState("");
  const [search] = useDebouncedValue(typed.trim(), PAUSE_MS);
  // Where each page up to the one that is shown begins.
  const [cursors, setCursors] = useState([0]);
  const page = { kind, search, cursor: cursors.at(-1) ?? 0, limit: PAGE };
  const files = useQuery(leftOutQuery(datasetId, page));
  const shown = files.data?.data ?? [];
  const next = files.data?.next_cursor ?? null;
  const isLong = count > 10;
  return (
    <Section title={title}>
      {isLong && (
        <TextInput
          type="search"
          aria-label={`Search: ${title}`}
          placeholder="Search by path or reason"
          maxLength={200}
          value={typed}
          onChange={(event) => {
            setTyped(event.currentTarget.value);
            setCursors([0]);
          }}
          maw="24rem"
        />
      )}
      {files.error && <ErrorNote error={files.error} />}
      {files.isPending && <Loading what="the files" />}
      {files.data && (
        <Table verticalSpacing={4} aria-label={title}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>File</Table.Th>
              <Table.Th>Reason</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {shown.map((file, place) => (
              // A path may come twice, in two archives.
              // biome-ignore lint/suspicious/noArrayIndexKey: a page is shown as a whole
              <Table.Tr key={place}>
                <Table.Td className="mono wrap">{file.path}</Table.Td>
                <Table.Td className="wrap">{file.reason}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
      {files.data && isLong && (
        <Group component="nav" aria-label={`Pages: ${title}`} gap="xs">
          <Button
            variant="default"
            size="xs"
            disabled={cursors.length === 1}
            onClick={() => setCursors(cursors.slice(0, -1))}
          >
            Before
          </Button>
          <Button
            variant="default"
            size="xs"
            disabled={next === null || files.isPlaceholderData}
            onClick={() => next !== null && setCursors([...cursors, Number(next)])}
          >
            Next
          </Button>
          <Text size="sm" c="dimmed" role="status">
            {placeInList({
              before: (cursors.length - 1) * PAGE,
              shown: shown.length,
              isLast: next === null,
              // How many a search finds is known on its last page.
              count: search === "" ? count : null,
            })}
          </Text>
        </Group>
      )}
    </Section>
  );
}
