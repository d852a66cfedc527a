import { NumberInput, Select, SimpleGrid, Text, TextInput } from "@mantine/core";
import type { OptionField } from "./options";

interface Props {
  fields: readonly OptionField[];
  values: Record<string, string>;
  errorAt: (field: string) => string | undefined;
  onChange: (name: string, value: string) => void;
}

/** Every other option of a job, folded. Empty: the recipe decides. */
export function AdvancedOptions({ fields, values, errorAt, onChange }: Props) {
  const hasError = fields.some(({ name }) => errorAt(name) !== undefined);
  const set = fields.filter(({ name }) => values[name]).length;
  return (
    <details open={hasError || undefined}>
      <summary>Advanced options{set > 0 && ` (${set} set)`}</summary>
      <Text size="sm" c="dimmed" my="sm">
        What is left empty is decided by the recipe, or by the engine when the job runs.
      </Text>
      <SimpleGrid cols={{ base: 1, sm: 2, md: 3, lg: 4 }} spacing="md">
        {fields.map((field) => (
          <OptionInput
            key={field.name}
            field={field}
            value={values[field.name] ?? ""}
            error={errorAt(field.name)}
            onChange={(value) => onChange(field.name, value)}
          />
        ))}
      </SimpleGrid>
    </details>
  );
}

interface InputProps {
  field: OptionField;
  value: string;
  error: string | undefined;
  onChange: (value: string) => void;
}

function OptionInput({ field, value, error, onChange }: InputProps) {
  const words = { label: field.name, description: field.description, error };
  switch (field.kind) {
    case "choice":
    case "switch":
      return (
        <Select
          {...words}
          data={field.choices}
          value={value || null}
          placeholder="by the recipe"
          clearable
          clearButtonProps={{ "aria-label": `Clear ${field.name}` }}
          onChange={(chosen) => onChange(chosen ?? "")}
        />
      );
    case "number":
      return (
        <NumberInput
          {...words}
          value={value}
          placeholder="by the recipe"
          allowDecimal={!field.isInteger}
          {...(field.least !== undefined && { min: field.least })}
          {...(field.most !== undefined && { max: field.most })}
          clampBehavior="none"
          onChange={(entered) => onChange(String(entered))}
        />
      );
    case "list":
      return (
        <TextInput
          {...words}
          value={value}
          placeholder="1,3,5"
          onChange={(event) => onChange(event.currentTarget.value)}
        />
      );
    default:
      return field.kind satisfies never;
  }
}
