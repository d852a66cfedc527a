import { Button, Checkbox, Group, Stack, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import type { WebhookEventType } from "@/api/client";
import { ApiError } from "@/api/errors";
import { ErrorNote } from "@/common/ErrorNote";
import { EVENTS } from "./events";

export interface WebhookValues {
  url: string;
  events: WebhookEventType[];
  description: string;
}

interface Props {
  initial: WebhookValues;
  /** What the button says. */
  action: string;
  save: (values: WebhookValues) => Promise<void>;
  onCancel: () => void;
}

/** What an endpoint is: where, and of what it is told. What the service refuses is said at its field. */
export function WebhookForm({ initial, action, save, onCancel }: Props) {
  const [values, setValues] = useState(initial);
  const saving = useMutation({ mutationFn: () => save(values) });
  const change = (changed: Partial<WebhookValues>) => {
    if (!saving.isIdle) saving.reset();
    setValues((before) => ({ ...before, ...changed }));
  };
  const errorAt = (field: string) =>
    saving.error instanceof ApiError ? saving.error.fieldMessage(field) : undefined;
  const isAtField = ["url", "events", "description"].some((field) => errorAt(field) !== undefined);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        saving.mutate();
      }}
    >
      <Stack gap="md">
        <TextInput
          label="URL"
          description="Where messages are sent: https, on the public internet."
          placeholder="https://example.com/wecolora"
          maxLength={2000}
          value={values.url}
          onChange={(event) => change({ url: event.currentTarget.value })}
          error={errorAt("url")}
          required
          data-autofocus
        />
        <Checkbox.Group
          label="Events"
          description="What it is told of."
          value={values.events}
          onChange={(events) => change({ events: events as WebhookEventType[] })}
          error={errorAt("events")}
        >
          <Stack gap={6} mt={6}>
            {EVENTS.map(({ type, text }) => (
              <Checkbox key={type} value={type} label={type} description={text} />
            ))}
          </Stack>
        </Checkbox.Group>
        <TextInput
          label="Description (optional)"
          placeholder="the lab’s chat"
          maxLength={200}
          value={values.description}
          onChange={(event) => change({ description: event.currentTarget.value })}
          error={errorAt("description")}
        />
        {saving.error && !isAtField && <ErrorNote error={saving.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onCancel}>
            Cancel
          </Button>
          <Button
            type="submit"
            loading={saving.isPending}
            disabled={values.url.trim() === "" || values.events.length === 0}
          >
            {action}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
