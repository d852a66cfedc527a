import { Button, Group, Stack } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { api, bodyOf, fetchFromApi, type Webhook, type WebhookEventType } from "@/api/client";
import { webhookQuery } from "@/api/queries";
import { ConfirmButton } from "@/common/ConfirmButton";
import { Dialog } from "@/common/Dialog";
import { ErrorNote } from "@/common/ErrorNote";
import { Secret } from "./Secret";
import { WebhookForm, type WebhookValues } from "./WebhookForm";

/** What can be done with an endpoint. */
export function WebhookActions({ webhook }: { webhook: Webhook }) {
  const [isChanging, setChanging] = useState(false);
  const queryClient = useQueryClient();
  const navigate = useNavigate();
  const path = { params: { path: { webhook_id: webhook.id } } };
  const refresh = () => queryClient.invalidateQueries({ queryKey: ["webhooks"] });
  const change = async (changed: Partial<WebhookValues> & { active?: boolean }): Promise<void> => {
    const request = {
      method: "PATCH",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(changed),
    };
    const answer = await fetchFromApi(`/webhooks/${encodeURIComponent(webhook.id)}`, request);
    queryClient.setQueryData(webhookQuery(webhook.id).queryKey, await answer.json());
    await refresh();
  };
  const test = useMutation({
    mutationFn: () => bodyOf(api.POST("/webhooks/{webhook_id}/test", path)),
    onSuccess: refresh,
  });
  const toggle = useMutation({ mutationFn: () => change({ active: !webhook.active }) });
  const rotate = useMutation({
    mutationFn: () => bodyOf(api.POST("/webhooks/{webhook_id}/secret", path)),
    onSuccess: refresh,
  });
  const remove = useMutation({
    mutationFn: () => api.DELETE("/webhooks/{webhook_id}", path),
    onSuccess: async () => {
      await navigate({ to: "/webhooks" });
      queryClient.removeQueries({ queryKey: ["webhooks", webhook.id] });
      await refresh();
    },
  });
  const error = test.error ?? toggle.error ?? rotate.error ?? remove.error;
  return (
    <Stack gap="xs">
      <Group gap="xs">
        {webhook.active && (
          <Button loading={test.isPending} onClick={() => test.mutate()}>
            Send a test
          </Button>
        )}
        <Button variant="default" onClick={() => setChanging(true)}>
          Change
        </Button>
        <Button
          variant={webhook.active ? "default" : "filled"}
          loading={toggle.isPending}
          onClick={() => toggle.mutate()}
        >
          {webhook.active ? "Switch off" : "Switch on"}
        </Button>
        <ConfirmButton
          label="New secret"
          question="Give this webhook a new secret?"
          isPending={rotate.isPending}
          onConfirm={() => rotate.mutate()}
        >
          For a while messages are signed with the new secret and with the one of now, so that the receiver
          can be changed without a gap. A second new secret in that time drops the older of the two.
        </ConfirmButton>
        <ConfirmButton
          label="Delete the webhook"
          question="Delete this webhook?"
          isPending={remove.isPending}
          onConfirm={() => remove.mutate()}
        >
          Its secret and its log are removed for good, and what waits to be sent is not sent any more.
        </ConfirmButton>
      </Group>
      {error && <ErrorNote error={error} />}
      <Dialog opened={isChanging} onClose={() => setChanging(false)} title="Change the webhook" size="lg">
        <WebhookForm
          initial={{
            url: webhook.url,
            events: webhook.events as WebhookEventType[],
            description: webhook.description ?? "",
          }}
          action="Save the changes"
          save={async (values) => {
            await change(values);
            setChanging(false);
          }}
          onCancel={() => setChanging(false)}
        />
      </Dialog>
      <Dialog
        opened={rotate.data !== undefined}
        onClose={() => rotate.reset()}
        title="New secret"
        size="lg"
        closeOnClickOutside={false}
      >
        {rotate.data && <Secret value={rotate.data.secret} onDone={() => rotate.reset()} />}
      </Dialog>
    </Stack>
  );
}
