import { Paper, Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";

/** A list without rows says what would be in it, and how to get there. */
export function EmptyState({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Paper withBorder p={{ base: "md", sm: "xl" }}>
      <Stack gap="sm" maw="44rem">
        <Title order={2}>{title}</Title>
        {typeof children === "string" ? <Text>{children}</Text> : children}
      </Stack>
    </Paper>
  );
}
