import { Button, Stack, Text, Title } from "@mantine/core";
import type { ErrorComponentProps } from "@tanstack/react-router";

/** A page that could not be loaded or drawn: mostly the service was updated while the tab was open. */
export function RouteError({ error }: ErrorComponentProps) {
  return (
    <Stack gap="sm" align="flex-start" role="alert">
      <Title order={1}>This page could not be shown</Title>
      <Text>Loading it again mostly helps: the service may have been updated while this tab was open.</Text>
      <Text className="mono wrap">{error instanceof Error ? error.message : String(error)}</Text>
      <Button onClick={() => location.reload()}>Load again</Button>
    </Stack>
  );
}
