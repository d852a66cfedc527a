import { useQueryClient } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useCallback } from "react";
import { datasetQuery } from "@/api/queries";
import type { Dropped } from "./upload/collect";
import { startUpload } from "./upload/uploads";

/**
 * How this page uploads: on the page of a dataset whose upload was interrupted it goes on with that one, everywhere
 * else it makes a new dataset.
 */
export function useUploader(): (dropped: Dropped) => void {
  const { datasetId } = useParams({ strict: false });
  const queryClient = useQueryClient();
  return useCallback(
    (dropped) => {
      const shown = datasetId && queryClient.getQueryData(datasetQuery(datasetId).queryKey);
      startUpload(dropped, shown && shown.state === "uploading" ? shown.id : null);
    },
    [datasetId, queryClient],
  );
}
