import { Button, Group, Table, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import type { SkippedFile } from "@/api/report";
import { formatCount } from "@/common/format";
import { Section } from "@/common/Section";
import { searchFiles } from "./fileSearch";

const PAGE = 25;

interface Props {
  title: string;
  files: readonly SkippedFile[];
  /** How many there are; the report names no more than some. */
  count: number;
  /** Said where there is no such file. */
  none: string;
}

/** Files with reasons, to be searched and turned over page by page. */
export function FileList({ title, files, count, none }: Props) {
  const [search, setSearch] = useState("");
  const [page, setPage] = useState(0);
  const found = searchFiles(files, search);
  const shown = found.slice(page * PAGE, (page + 1) * PAGE);
  const isLong = files.length > 10;
  return (
    <Section title={title}>
      {count === 0 && <Text c="dimmed">{none}</Text>}
      {count > files.length && (
        <Text size="sm" c="dimmed">
          The first {formatCount(files.length)} of {formatCount(count)}.
        </Text>
      )}
      {isLong && (
        <TextInput
          aria-label={`Search: ${title}`}
          placeholder="Search by path or reason"
          value={search}
          onChange={(event) => {
            setSearch(event.currentTarget.value);
            setPage(0);
          }}
          maw="24rem"
        />
      )}
      {count > 0 && (
        <Table verticalSpacing={4} aria-label={title}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>File</Table.Th>
              <Table.Th>Reason</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {shown.map((file) => (
              <Table.Tr key={file.path}>
                <Table.Td className="mono wrap">{file.path}</Table.Td>
                <Table.Td className="wrap">{file.reason}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
      {isLong && (
        <Group component="nav" aria-label={`Pages: ${title}`} gap="xs">
          <Button variant="default" size="xs" disabled={page === 0} onClick={() => setPage(page - 1)}>
            Before
          </Button>
          <Button
            variant="default"
            size="xs"
            disabled={(page + 1) * PAGE >= found.length}
            onClick={() => setPage(page + 1)}
          >
            Next
          </Button>
          <Text size="sm" c="dimmed" role="status">
            {found.length === 0
              ? "No file fits."
              : `${formatCount(page * PAGE + 1)} to ${formatCount(page * PAGE + shown.length)} of ${formatCount(found.length)}`}
          </Text>
        </Group>
      )}
    </Section>
  );
}
