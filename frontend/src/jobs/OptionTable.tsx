import { Table, Text } from "@mantine/core";
import type { Job } from "@/api/client";

/** Every option as it counts; those that the request set are marked. */
export function OptionTable({ job }: { job: Job }) {
  const rows = Object.entries(job.options).sort(([a], [b]) => a.localeCompare(b));
  return (
    <details>
      <summary>
        {Object.keys(job.given).length} set in the request, the others by the recipe “{job.recipe}” and by
        default
      </summary>
      <Table maw="44rem" mt="sm" verticalSpacing={4} aria-label="Options">
        <Table.Tbody>
          {rows.map(([name, value]) => (
            <Table.Tr key={name}>
              <Table.Th scope="row" fw={name in job.given ? 700 : 400}>
                {name}
              </Table.Th>
              <Table.Td className="mono wrap">
                {value === null ? "chosen by the engine" : JSON.stringify(value)}
              </Table.Td>
              <Table.Td>
                {name in job.given && (
                  <Text size="sm" c="dimmed">
                    set
                  </Text>
                )}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </details>
  );
}
