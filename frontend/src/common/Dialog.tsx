import { Group, Modal, type ModalRootProps } from "@mantine/core";
import type { ReactNode } from "react";

interface Props extends Omit<ModalRootProps, "title" | "children"> {
  title: ReactNode;
  children: ReactNode;
}

/** A window over the page. Its head is no `header`, which a screen reader would take for the page's own. */
export function Dialog({ title, children, ...modal }: Props) {
  return (
    <Modal.Root {...modal}>
      <Modal.Overlay />
      <Modal.Content>
        <Group justify="space-between" wrap="nowrap" p="md" pb="xs">
          <Modal.Title fw={650}>{title}</Modal.Title>
          <Modal.CloseButton aria-label="Close" />
        </Group>
        <Modal.Body>{children}</Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}
