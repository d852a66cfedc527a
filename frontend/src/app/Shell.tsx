import {
  ActionIcon,
  AppShell,
  Group,
  Text,
  useComputedColorScheme,
  useMantineColorScheme,
} from "@mantine/core";
import { IconKey, IconMoon, IconPlus, IconSun } from "@tabler/icons-react";
import { Outlet } from "@tanstack/react-router";
import { ConnectionBanner } from "@/app/ConnectionBanner";
import { KeyGate } from "@/app/KeyGate";
import { LinkAnchor, LinkButton, LinkIcon } from "@/common/links";
import { DropTarget } from "@/datasets/DropTarget";
import { UploadBar } from "@/datasets/UploadBar";
import icon from "@/icon.svg";

/** What surrounds every page. A folder can be dropped on any of them. */
export function Shell() {
  return (
    <AppShell header={{ height: "3.5rem" }} padding={{ base: "sm", sm: "lg" }}>
      <a className="skip-link" href="#content">
        Skip to the content
      </a>
      <AppShell.Header px={{ base: "sm", sm: "lg" }}>
        <Group className="page" h="100%" justify="space-between" wrap="nowrap" gap="xs">
          <nav aria-label="Main" className="nav">
            <LinkAnchor to="/" underline="never" c="inherit" aria-label="WeCoLoRA, start" visibleFrom="xs">
              <Group gap="xs" wrap="nowrap">
                <img src={icon} alt="" className="logo" />
                <Text fw={700} visibleFrom="sm">
                  WeCoLoRA
                </Text>
              </Group>
            </LinkAnchor>
            <NavLink to="/jobs">Jobs</NavLink>
            <NavLink to="/datasets">Datasets</NavLink>
            <NavLink to="/compare">Compare</NavLink>
          </nav>
          <Group gap="xs" wrap="nowrap">
            <LinkButton to="/jobs/new" size="xs" aria-label="New job">
              <IconPlus size="1rem" aria-hidden />
              <Text span inherit visibleFrom="sm" ml={4}>
                New job
              </Text>
            </LinkButton>
            <LinkIcon to="/usage" variant="default" size="lg" aria-label="Usage, keys and webhooks">
              <IconKey size="1.125rem" aria-hidden />
            </LinkIcon>
            <SchemeSwitch />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Main id="content" tabIndex={-1}>
        <div className="page">
          <ConnectionBanner />
          <KeyGate>
            <Outlet />
            <DropTarget />
          </KeyGate>
        </div>
      </AppShell.Main>
      <UploadBar />
    </AppShell>
  );
}

function NavLink({ to, children }: { to: "/jobs" | "/datasets" | "/compare"; children: string }) {
  return (
    <LinkAnchor
      to={to}
      c="inherit"
      inherit
      underline="hover"
      activeProps={{ style: { fontWeight: 700 } }}
      activeOptions={{ includeSearch: false }}
    >
      {children}
    </LinkAnchor>
  );
}

function SchemeSwitch() {
  const { setColorScheme } = useMantineColorScheme();
  const other = useComputedColorScheme("light") === "light" ? "dark" : "light";
  const Icon = other === "dark" ? IconMoon : IconSun;
  return (
    <ActionIcon
      variant="default"
      size="lg"
      aria-label={`Use ${other} colours`}
      onClick={() => setColorScheme(other)}
    >
      <Icon size="1.125rem" />
    </ActionIcon>
  );
}
