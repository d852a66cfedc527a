import { fetchFromApi } from "./client";

/** `GET /datasets/{id}/report`: the ingest's own file, which the OpenAPI document does not describe. */
export interface DatasetReport {
  image_count: number;
  skipped_count: number;
  duplicate_count: number;
  size_bytes: number;
  class_names: string[] | null;
  splits: Record<string, number> | null;
  width: SizeRange;
  height: SizeRange;
  skipped: SkippedFile[];
  duplicates: SkippedFile[];
}

export interface SizeRange {
  min: number;
  median: number;
  max: number;
}

export interface SkippedFile {
  path: string;
  reason: string;
}

export async function fetchDatasetReport(id: string, signal: AbortSignal): Promise<DatasetReport> {
  const response = await fetchFromApi(`/datasets/${encodeURIComponent(id)}/report`, { signal });
  return response.json();
}
