import { Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { Dataset } from "@/api/client";
import { datasetQuery, datasetsQuery } from "@/api/queries";
import { formatCount } from "@/common/format";
import { eachOnce, useSought } from "@/common/sought";

interface Props {
  label: string;
  description: string;
  value: string | null;
  onChange: (id: string | null) => void;
  error: string | undefined;
  required?: boolean;
  /** Only datasets with class folders. */
  needsClasses?: boolean;
}

/** A dataset that a job can use: the newest ones are offered, what is typed is searched for on the service. */
export function DatasetSelect({ value, onChange, needsClasses = false, error, ...words }: Props) {
  const [typed, setTyped] = useState("");
  const named = useQuery({ ...datasetQuery(value ?? ""), enabled: value !== null });
  const { name, isSettled } = useSought(typed, named.data && inWords(named.data));
  const ready = useQuery(datasetsQuery({ state: "ready", name, ...(needsClasses && { labelled: true }) }));
  // Whether these have classes is not known yet.
  const beingRead = useQuery(datasetsQuery({ state: "ingesting", name }));
  const found = [...(ready.data?.data ?? []), ...(beingRead.data?.data ?? [])];
  const listed = found.sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
  const shown = eachOnce(named.data ? [named.data] : [], listed);
  const isSearching = !isSettled || ready.isPlaceholderData || beingRead.isPlaceholderData;
  return (
    <Select
      {...words}
      placeholder={needsClasses ? "None, or a part of a name" : "Choose one, or type a part of its name"}
      searchable
      searchValue={typed}
      onSearchChange={setTyped}
      clearable={needsClasses}
      clearButtonProps={{ "aria-label": `Clear: ${words.label}` }}
      data={shown.map((dataset) => ({ value: dataset.id, label: inWords(dataset) }))}
      nothingFoundMessage={isSearching ? "Searching …" : nothingFound(name, needsClasses)}
      value={value}
      onChange={onChange}
      error={error ?? (named.error ?? ready.error ?? beingRead.error)?.message}
    />
  );
}

function nothingFound(name: string | undefined, needsClasses: boolean): string {
  if (name !== undefined)
    return `No dataset ${needsClasses ? "with class folders " : ""}has this in its name.`;
  return needsClasses
    ? "No dataset has class folders."
    : "No dataset is ready. Drop a folder of images on this page.";
}

function inWords({ name, state, image_count, class_names, id }: Dataset): string {
  const content = state === "ready" ? `${formatCount(image_count)} images` : state;
  const classes = class_names ? `, ${class_names.length} classes` : "";
  return `${name} (${content}${classes}) ${id.slice(-6)}`;
}
