import { Button, Code, Group, Select, Stack, Text, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, bodyOf, type Scope } from "@/api/client";
import { ApiError } from "@/api/errors";
import { Dialog } from "@/common/Dialog";
import { ErrorNote } from "@/common/ErrorNote";
import { ShownOnce } from "@/common/ShownOnce";
import { expiryOf, LIFETIMES } from "./keyState";
import { SCOPE_WORDS, SCOPES } from "./scopes";

/** Makes a key, and shows it the one time that the service does. */
export function NewKey({ owner }: { owner: string }) {
  const [isOpen, setOpen] = useState(false);
  const [count, setCount] = useState(0);
  return (
    <>
      <Button
        onClick={() => {
          // Each opening is a form of its own: nothing of the last key is left in it.
          setCount(count + 1);
          setOpen(true);
        }}
      >
        New key
      </Button>
      <Dialog
        opened={isOpen}
        onClose={() => setOpen(false)}
        title="New API key"
        size="lg"
        closeOnClickOutside={false}
      >
        <KeyForm key={count} owner={owner} onDone={() => setOpen(false)} />
      </Dialog>
    </>
  );
}

function KeyForm({ owner: ownOwner, onDone }: { owner: string; onDone: () => void }) {
  const [name, setName] = useState("");
  const [owner, setOwner] = useState(ownOwner);
  const [scope, setScope] = useState<Scope>("write");
  const [lifetime, setLifetime] = useState("in 90 days");
  const queryClient = useQueryClient();
  const make = useMutation({
    mutationFn: () => {
      const days = LIFETIMES.find(({ label }) => label === lifetime)?.days ?? null;
      const expires_at = expiryOf(days, Date.now());
      return bodyOf(api.POST("/keys", { body: { name, owner, scope, expires_at } }));
    },
    onSuccess: () =>
      Promise.all(["keys", "owners"].map((kind) => queryClient.invalidateQueries({ queryKey: [kind] }))),
  });
  if (make.data !== undefined) return <Made value={make.data.key} onDone={onDone} />;
  const errorAt = (field: string) =>
    make.error instanceof ApiError ? make.error.fieldMessage(field) : undefined;
  const isAtField = ["name", "owner", "scope", "expires_at"].some((field) => errorAt(field) !== undefined);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        make.mutate();
      }}
    >
      <Stack gap="md">
        <TextInput
          label="Name"
          description="What it is for."
          placeholder="laptop"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          error={errorAt("name")}
          required
          data-autofocus
        />
        <TextInput
          label="Owner"
          description="To whom belongs what is made with the key. A new name makes a new owner."
          value={owner}
          onChange={(event) => setOwner(event.currentTarget.value)}
          error={errorAt("owner")}
          required
        />
        <Select
          label="Scope"
          description={[SCOPE_WORDS[scope].may, SCOPE_WORDS[scope].mayNot].filter(Boolean).join(" ")}
          data={SCOPES}
          value={scope}
          allowDeselect={false}
          onChange={(value) => setScope(SCOPES.find((each) => each === value) ?? scope)}
          error={errorAt("scope")}
        />
        <Select
          label="Expires"
          data={LIFETIMES.map(({ label }) => label)}
          value={lifetime}
          allowDeselect={false}
          onChange={(value) => setLifetime(value ?? lifetime)}
          error={errorAt("expires_at")}
        />
        {make.error && !isAtField && <ErrorNote error={make.error} title="The key was not made" />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={make.isPending} disabled={name.trim() === ""}>
            Make the key
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Made({ value, onDone }: { value: string; onDone: () => void }) {
  return (
    <ShownOnce
      label="The new key"
      value={value}
      note="The service stores only its hash. Who has the key may do what its scope allows."
      onDone={onDone}
    >
      <Text size="sm">
        With curl: <Code>-H "Authorization: Bearer …"</Code>; for the command line:{" "}
        <Code>export WECOLORA_KEY=…</Code>
      </Text>
    </ShownOnce>
  );
}
