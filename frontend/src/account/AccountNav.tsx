import { Group } from "@mantine/core";
import { LinkAnchor } from "@/common/links";

/** Leads between the pages of what belongs to who asks. */
export function AccountNav() {
  const active = { style: { fontWeight: 700 } };
  return (
    <Group component="nav" aria-label="Account" gap="md">
      <LinkAnchor to="/usage" activeProps={active}>
        Usage and keys
      </LinkAnchor>
      <LinkAnchor to="/webhooks" activeProps={active} activeOptions={{ includeSearch: false }}>
        Webhooks
      </LinkAnchor>
    </Group>
  );
}
