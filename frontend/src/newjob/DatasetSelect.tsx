import { Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { Dataset } from "@/api/client";
import { datasetQuery, datasetsQuery } from "@/api/queries";
import { formatCount } from "@/common/format";

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

/** A dataset of the newest ones that a job can use, or the one that the URL named. */
export function DatasetSelect({ value, onChange, needsClasses = false, error, ...words }: Props) {
  const datasets = useQuery(datasetsQuery({}));
  const named = useQuery({ ...datasetQuery(value ?? ""), enabled: value !== null });
  const listed = (datasets.data?.data ?? []).filter((dataset) => isUsable(dataset, needsClasses));
  const isListed = listed.some(({ id }) => id === value);
  const shown = named.data && !isListed ? [named.data, ...listed] : listed;
  return (
    <Select
      {...words}
      placeholder={needsClasses ? "None" : "Choose a dataset"}
      searchable
      clearable={needsClasses}
      clearButtonProps={{ "aria-label": `Clear: ${words.label}` }}
      data={shown.map((dataset) => ({ value: dataset.id, label: inWords(dataset) }))}
      nothingFoundMessage={
        needsClasses
          ? "No dataset has class folders."
          : "No dataset is ready. Drop a folder of images on this page."
      }
      value={value}
      onChange={onChange}
      error={error ?? named.error?.message ?? datasets.error?.message}
    />
  );
}

function isUsable({ state, class_names }: Dataset, needsClasses: boolean): boolean {
  if (state === "ingesting") return true;
  return state === "ready" && (!needsClasses || (class_names?.length ?? 0) > 1);
}

function inWords({ name, state, image_count, class_names, id }: Dataset): string {
  const content = state === "ready" ? `${formatCount(image_count)} images` : state;
  const classes = class_names ? `, ${class_names.length} classes` : "";
  return `${name} (${content}${classes}) ${id.slice(-6)}`;
}
