import { useDebouncedValue } from "@mantine/hooks";

const PAUSE_MS = 250;
/** The service takes no longer part of a name. */
const LONGEST = 200;

/**
 * What to ask the service for, by what stands in a select's field: nothing while that is the label of the one that is
 * chosen.
 */
export function soughtName(typed: string, chosenLabel: string | undefined): string | undefined {
  const name = typed.trim().slice(0, LONGEST);
  return name === "" || typed === chosenLabel ? undefined : name;
}

/** The same, a moment after the last letter; until then it is not settled. */
export function useSought(typed: string, chosenLabel?: string) {
  const wanted = soughtName(typed, chosenLabel);
  const [name] = useDebouncedValue(wanted, PAUSE_MS);
  return { name, isSettled: name === wanted };
}

/** Rows of several answers, each once: those that come first win. */
export function eachOnce<Row extends { id: string }>(...answers: readonly (readonly Row[])[]): Row[] {
  const byId = new Map<string, Row>();
  for (const row of answers.flat()) if (!byId.has(row.id)) byId.set(row.id, row);
  return [...byId.values()];
}
