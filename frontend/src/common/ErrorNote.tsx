import { Alert, List, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { ApiError } from "@/api/errors";

/** What went wrong and what to do, as the service said it. */
export function ErrorNote({ error, title }: { error: Error; title?: string }) {
  const problem = error instanceof ApiError ? error.problem : null;
  const fields = problem?.errors ?? [];
  return (
    <Alert color="red" icon={<IconAlertTriangle />} title={title ?? problem?.title ?? "That did not work"}>
      {fields.length === 0 && <Text size="sm">{error.message}</Text>}
      {fields.length > 0 && (
        <List size="sm">
          {fields.map((field) => (
            <List.Item key={field.field}>
              <b>{field.field}</b>: {field.message}
              {field.allowed ? ` (allowed: ${field.allowed})` : ""}
            </List.Item>
          ))}
        </List>
      )}
    </Alert>
  );
}
