import { Group, Select, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useEffect, useRef, useState } from "react";

export interface Filter<State extends string> {
  name?: string;
  state?: State;
}

interface Props<State extends string> {
  /** What is listed, as in “Search the jobs by name”. */
  what: string;
  states: readonly State[];
  value: Filter<State>;
  onChange: (filter: Filter<State>) => void;
}

const PAUSE_MS = 250;

/** Narrows a list by a part of the name, and by state. The address has both. */
export function ListFilter<State extends string>({ what, states, value, onChange }: Props<State>) {
  const change = ({ name, state }: { name: string | undefined; state: State | undefined }) =>
    onChange({ ...(name && { name }), ...(state && { state }) });
  return (
    <Group gap="xs">
      <NameSearch
        label={`Search the ${what} by name`}
        value={value.name ?? ""}
        onChange={(name) => change({ name, state: value.state })}
      />
      <Select
        aria-label="State"
        placeholder="All states"
        data={states}
        clearable
        clearButtonProps={{ "aria-label": "Show all states" }}
        value={value.state ?? null}
        onChange={(state) => change({ name: value.name, state: states.find((each) => each === state) })}
        w="11rem"
      />
    </Group>
  );
}

interface SearchProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
}

/** Asks a moment after the last letter, not at each. */
function NameSearch({ label, value, onChange }: SearchProps) {
  const [text, setText] = useState(value);
  const told = useRef(value);
  const tell = useDebouncedCallback((typed: string) => {
    told.current = typed.trim();
    onChange(told.current);
  }, PAUSE_MS);
  useEffect(() => {
    // The address has changed by itself, such as by the browser's way back.
    if (value === told.current) return;
    told.current = value;
    setText(value);
  }, [value]);
  return (
    <TextInput
      type="search"
      aria-label={label}
      placeholder="Search by name"
      maxLength={200}
      value={text}
      onChange={(event) => {
        setText(event.currentTarget.value);
        tell(event.currentTarget.value);
      }}
      w="14rem"
    />
  );
}
