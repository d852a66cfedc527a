import { Select } from "@mantine/core";

interface Props<State extends string> {
  states: readonly State[];
  value: State | undefined;
  onChange: (state: State | undefined) => void;
}

/** Chooses the state that a list shows; nothing chosen shows all. */
export function StateSelect<State extends string>({ states, value, onChange }: Props<State>) {
  return (
    <Select
      aria-label="State"
      placeholder="All states"
      data={states}
      clearable
      clearButtonProps={{ "aria-label": "Show all states" }}
      value={value ?? null}
      onChange={(state) => onChange(states.find((each) => each === state))}
      w="11rem"
    />
  );
}
