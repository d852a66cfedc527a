import { Code, Text } from "@mantine/core";
import { ShownOnce } from "@/common/ShownOnce";

/** The secret of an endpoint, as it is shown when it is made or given a new one. */
export function Secret({ value, onDone }: { value: string; onDone: () => void }) {
  return (
    <ShownOnce
      label="The secret"
      value={value}
      note="Your receiver verifies messages with it. Who has it can sign messages as this service does."
      onDone={onDone}
    >
      <Text size="sm">
        In Python: <Code>standardwebhooks.Webhook("whsec_…").verify(body, headers)</Code>
      </Text>
    </ShownOnce>
  );
}
