import { Button, Code, PasswordInput, Stack, Text, Title } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { ApiError } from "@/api/errors";
import { readKey, storeKey } from "@/api/key";
import { meQuery } from "@/api/queries";
import { ErrorNote } from "@/common/ErrorNote";
import { Loading } from "@/common/Loading";

/** Shows the pages to those whom the service knows, and asks the others for a key. */
export function KeyGate({ children }: { children: ReactNode }) {
  const me = useQuery(meQuery);
  if (me.error instanceof ApiError && me.error.status === 401) return <KeyForm refusal={me.error} />;
  if (me.data !== undefined) return children;
  if (me.error !== null) return <ErrorNote error={me.error} />;
  return <Loading what="the service’s answer" />;
}

function KeyForm({ refusal }: { refusal: ApiError }) {
  const [value, setValue] = useState("");
  const queryClient = useQueryClient();
  const wasTried = readKey() !== null;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        storeKey(value.trim());
        void queryClient.resetQueries();
      }}
    >
      <Stack gap="md" maw="32rem">
        <Title order={1}>API key</Title>
        <Text>
          This service asks for an API key. It is kept in this tab only (in its session storage) and is gone
          when you close the tab. Whoever runs the service makes one with{" "}
          <Code>./run admin create-key --owner NAME</Code>.
        </Text>
        <PasswordInput
          label="API key"
          placeholder="wcl_…"
          autoComplete="off"
          value={value}
          onChange={(event) => setValue(event.currentTarget.value)}
          error={wasTried ? refusal.message : undefined}
          required
          data-autofocus
        />
        <Button type="submit" w="fit-content" disabled={value.trim() === ""}>
          Use this key
        </Button>
      </Stack>
    </form>
  );
}
