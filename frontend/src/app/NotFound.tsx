import { Stack, Text, Title } from "@mantine/core";
import { LinkAnchor } from "@/common/links";

export function NotFound() {
  return (
    <Stack gap="xs">
      <Title order={1}>There is no such page</Title>
      <Text>
        The address may be mistyped. All work is under <LinkAnchor to="/jobs">Jobs</LinkAnchor> and{" "}
        <LinkAnchor to="/datasets">Datasets</LinkAnchor>.
      </Text>
    </Stack>
  );
}
