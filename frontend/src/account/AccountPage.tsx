import { Code, Paper, Stack, Text, Title } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { storeKey } from "@/api/key";
import { meQuery } from "@/api/queries";
import { ErrorNote } from "@/common/ErrorNote";
import { Loading } from "@/common/Loading";
import { Section } from "@/common/Section";
import { usePageTitle } from "@/common/usePageTitle";
import { AccountNav } from "./AccountNav";
import { KeySection } from "./KeySection";
import { OwnerSection } from "./OwnerSection";
import { UsageTable } from "./UsageTable";

const REFRESH_MS = 5000;

/** Who asks, what may be had and what is; and the keys. */
export function AccountPage() {
  usePageTitle("Usage and keys");
  const me = useQuery({ ...meQuery, refetchInterval: REFRESH_MS });
  const queryClient = useQueryClient();
  const forget = () => {
    storeKey(null);
    void queryClient.resetQueries();
  };
  return (
    <Stack gap="lg">
      <AccountNav />
      <Title order={1}>Usage and keys</Title>
      {me.error && <ErrorNote error={me.error} />}
      {me.isPending && <Loading what="your usage" />}
      {me.data && (
        <>
          <Section title={me.data.key_id === null ? "Usage" : `Usage of ${me.data.owner.name}`}>
            <UsageTable owner={me.data.owner} />
          </Section>
          {me.data.key_id === null ? <NoKeys /> : <KeySection me={me.data} onForget={forget} />}
          {me.data.key_id !== null && me.data.scope === "admin" && <OwnerSection />}
        </>
      )}
    </Stack>
  );
}

/** A service that asks for no key says so, and how it would. */
function NoKeys() {
  return (
    <Section title="API keys">
      <Paper withBorder p="md" maw="60rem">
        <Stack gap="sm">
          <Text>
            This service asks for no key: whoever can reach it may do everything, and everything belongs to
            one owner. That is right for one machine and its own user, which is why it listens there only.
          </Text>
          <Text>
            To let others use it, make an admin key for yourself, and start the service so that it asks for
            keys. Each person or program then gets a key of their own here, with a scope and an expiry, and
            each owner sees only what is theirs.
          </Text>
          <Code block tabIndex={0} aria-label="How to switch keys on">
            {"./run admin create-key --owner NAME --scope admin\nWECOLORA_AUTH=keys ./run serve"}
          </Code>
        </Stack>
      </Paper>
    </Section>
  );
}
