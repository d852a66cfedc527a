import { Group, Input, NumberInput, Slider } from "@mantine/core";
import { useId } from "react";

interface Props {
  label: string;
  description: string;
  least: number;
  most: number;
  value: number;
  onChange: (value: number) => void;
  error: string | undefined;
}

/** A whole number, by a slider or typed. */
export function NumberSlider({ label, description, least, most, value, onChange, error }: Props) {
  const id = useId();
  return (
    <Input.Wrapper label={label} description={description} error={error} id={id}>
      <Group gap="md" wrap="nowrap" mt={6}>
        <Slider
          flex={1}
          min={least}
          max={most}
          value={Math.min(value, most)}
          onChange={onChange}
          label={null}
          thumbLabel={label}
        />
        <NumberInput
          id={id}
          w="6rem"
          min={least}
          value={value}
          allowDecimal={false}
          onChange={(entered) => typeof entered === "number" && onChange(entered)}
        />
      </Group>
    </Input.Wrapper>
  );
}
