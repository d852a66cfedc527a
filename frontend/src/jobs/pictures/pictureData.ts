import { queryOptions } from "@tanstack/react-query";
import { type Artifact, fetchFromApi } from "@/api/client";

/** Where the small images of a picture lie: square tiles of one JPEG, row by row. */
export interface Sheet {
  file: string;
  tiles: number;
  columns: number;
  tile_pixels: number;
}

/** `tsne.json`: see docs/pictures.md. */
export interface LatentSpaceData {
  models: { name: string; coordinates: [number, number][] }[];
  labels: number[];
  classes: string[];
  images_found: number;
  parameters: { perplexity: number };
  sheet: Sheet;
}

/** `attention.json`: a grid of 0 … 1 for each image and model. */
export interface AttentionData {
  images: { file: string; grids: Record<string, number[][]> }[];
  sheet: Sheet;
}

/** A finished job's JSON file. It never changes. */
export const pictureQuery = <Data>(file: Artifact | undefined) =>
  queryOptions({
    queryKey: ["picture", file?.links.self],
    queryFn: async ({ signal }): Promise<Data> =>
      (await fetchFromApi(file?.links.self ?? "", { signal })).json(),
    enabled: file !== undefined,
    staleTime: Number.POSITIVE_INFINITY,
  });

/** Upper left corner of a tile, in pixels of the sheet. */
export function tileAt({ columns, tile_pixels }: Sheet, number: number): [x: number, y: number] {
  return [(number % columns) * tile_pixels, Math.floor(number / columns) * tile_pixels];
}
