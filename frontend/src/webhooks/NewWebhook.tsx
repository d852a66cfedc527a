import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, bodyOf } from "@/api/client";
import { Dialog } from "@/common/Dialog";
import { EVENTS } from "./events";
import { Secret } from "./Secret";
import { WebhookForm } from "./WebhookForm";

const EMPTY = { url: "", events: EVENTS.map(({ type }) => type), description: "" };

/** Registers an endpoint, and shows its secret the one time that the service does. */
export function NewWebhook() {
  const [isOpen, setOpen] = useState(false);
  const [secret, setSecret] = useState<string | null>(null);
  const queryClient = useQueryClient();
  const close = () => {
    setOpen(false);
    setSecret(null);
  };
  return (
    <>
      <Button onClick={() => setOpen(true)}>New webhook</Button>
      <Dialog opened={isOpen} onClose={close} title="New webhook" size="lg" closeOnClickOutside={false}>
        {secret !== null ? (
          <Secret value={secret} onDone={close} />
        ) : (
          <WebhookForm
            initial={EMPTY}
            action="Register the webhook"
            save={async ({ url, events, description }) => {
              const body = { url, events, ...(description.trim() !== "" && { description }) };
              setSecret((await bodyOf(api.POST("/webhooks", { body }))).secret);
              void queryClient.invalidateQueries({ queryKey: ["webhooks"] });
            }}
            onCancel={close}
          />
        )}
      </Dialog>
    </>
  );
}
