import { ActionIcon, CopyButton, Tooltip } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";

/** Copies a text. Browsers let only pages do so that came over TLS or from this machine; others select by hand. */
export function CopyIcon({ value, label }: { value: string; label: string }) {
  if (!window.isSecureContext) return null;
  return (
    <CopyButton value={value}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? "Copied" : "Copy"}>
          <ActionIcon variant="default" size="lg" onClick={copy} aria-label={label}>
            {copied ? <IconCheck size="1.125rem" /> : <IconCopy size="1.125rem" />}
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  );
}
