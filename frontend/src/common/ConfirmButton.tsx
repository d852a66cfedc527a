import { Button, type ButtonProps, Group, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import type { ReactNode } from "react";
import { Dialog } from "./Dialog";

interface Props extends ButtonProps {
  label: string;
  question: string;
  /** What will be lost. */
  children: ReactNode;
  isPending: boolean;
  onConfirm: () => void;
}

/** A button for what cannot be undone: it asks first. */
export function ConfirmButton({ label, question, children, isPending, onConfirm, ...button }: Props) {
  const [isOpen, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button variant="default" loading={isPending} onClick={open} {...button}>
        {label}
      </Button>
      <Dialog opened={isOpen} onClose={close} title={question}>
        <Text>{children}</Text>
        <Group mt="lg" justify="flex-end">
          <Button variant="default" onClick={close} data-autofocus>
            Keep it
          </Button>
          <Button
            color="red.8"
            onClick={() => {
              close();
              onConfirm();
            }}
          >
            {label}
          </Button>
        </Group>
      </Dialog>
    </>
  );
}
