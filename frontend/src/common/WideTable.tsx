import { Table } from "@mantine/core";
import type { ReactNode } from "react";

/** A table that scrolls sideways by itself where the window is narrower, also by the keyboard. */
export function WideTable({ minWidth, children }: { minWidth: string; children: ReactNode }) {
  return (
    <Table.ScrollContainer minWidth={minWidth} scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}>
      {children}
    </Table.ScrollContainer>
  );
}
