import { Alert, Loader } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { fetchFromApi } from "@/api/client";
import { useLostAt } from "@/api/connection";
import { formatMoment } from "@/common/format";

/** Says that the service does not answer, asks until it does, and then brings the page up to date. */
export function ConnectionBanner() {
  const lostAt = useLostAt();
  const queryClient = useQueryClient();
  const wasLost = useRef(false);
  useQuery({
    queryKey: ["health"],
    queryFn: async ({ signal }) => (await fetchFromApi("/healthz", { signal })).ok,
    enabled: lostAt !== null,
    refetchInterval: 1500,
    retry: false,
    gcTime: 0,
  });
  useEffect(() => {
    if (wasLost.current && lostAt === null) void queryClient.invalidateQueries();
    wasLost.current = lostAt !== null;
  }, [lostAt, queryClient]);
  return (
    <div role="status">
      {lostAt !== null && (
        <Alert
          color="yellow"
          mb="md"
          icon={<Loader size="1rem" color="currentColor" />}
          title="The service does not answer"
        >
          What is shown is from {formatMoment(new Date(lostAt).toISOString())}. This page tries again every
          few seconds; jobs go on meanwhile, and nothing is lost.
        </Alert>
      )}
    </div>
  );
}
