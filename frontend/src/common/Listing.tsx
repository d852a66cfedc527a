import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { ErrorNote } from "./ErrorNote";
import { Loading } from "./Loading";
import { Pager } from "./Pager";

interface Props<Row> {
  query: UseQueryResult<{ data: Row[]; next_cursor: string | null }>;
  /** What is listed, as in “the jobs”. */
  what: string;
  /** Of the page that is shown; undefined is the first one. */
  cursor: string | undefined;
  /** Called with the cursor of the page to show; null is the first one. */
  onMove: (cursor: string | null) => void;
  /** Shown where there are no rows. */
  empty: ReactNode;
  children: (rows: Row[]) => ReactNode;
}

/** One page of a list, with what there is to say before there is one, or instead of it. */
export function Listing<Row>({ query, what, cursor, onMove, empty, children }: Props<Row>) {
  return (
    <>
      {query.error && <ErrorNote error={query.error} />}
      {query.isPending && <Loading what={what} />}
      {query.data?.data.length === 0 && empty}
      {query.data !== undefined && query.data.data.length > 0 && (
        <>
          {children(query.data.data)}
          <Pager isFirst={cursor === undefined} next={query.data.next_cursor} onMove={onMove} />
        </>
      )}
    </>
  );
}
