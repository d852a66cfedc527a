import { keepPreviousData, QueryCache, QueryClient, queryOptions } from "@tanstack/react-query";
import {
  api,
  bodyOf,
  type DatasetState,
  type DeliveryState,
  fetchFromApi,
  type JobState,
  type LeftOutKind,
} from "./client";
import { ApiError, isPassing } from "./errors";

export const PAGE_SIZE = 50;
/** Of a webhook's log: an entry may be long. */
const DELIVERIES = 20;
const LIVE_MS = 1000;
const LIST_MS = 3000;

export const queryClient = new QueryClient({
  queryCache: new QueryCache({
    onError: (error, { queryKey }) => {
      // A key that was revoked meanwhile: who asks is to be found out again.
      if (error instanceof ApiError && error.status === 401 && queryKey[0] !== "me") {
        void queryClient.invalidateQueries({ queryKey: ["me"] });
      }
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: 1000,
      retry: (count, error) => isPassing(error) && count < 3,
      retryDelay: (count, error) =>
        1000 * (error instanceof ApiError ? (error.retryAfterSeconds ?? 2 ** count) : 2 ** count),
      // A server on this machine is reached without a network.
      networkMode: "always",
    },
    mutations: { networkMode: "always" },
  },
});

export const ENDED: ReadonlySet<JobState> = new Set(["succeeded", "failed", "cancelled"]);
export const SETTLED: ReadonlySet<DatasetState> = new Set(["ready", "failed"]);

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: ({ signal }) => bodyOf(api.GET("/me", { signal })),
  retry: (_count, error) => isPassing(error),
});

export interface ListPage<State> {
  cursor?: string | undefined;
  state?: State | undefined;
  /** A part of it, in any case. */
  name?: string | undefined;
}

export const jobsQuery = (page: ListPage<JobState>) =>
  queryOptions({
    queryKey: ["jobs", page],
    queryFn: ({ signal }) =>
      bodyOf(api.GET("/jobs", { params: { query: { limit: PAGE_SIZE, ...page } }, signal })),
    placeholderData: keepPreviousData,
    refetchInterval: LIST_MS,
  });

export const jobQuery = (id: string) =>
  queryOptions({
    queryKey: ["jobs", id],
    queryFn: ({ signal }) => bodyOf(api.GET("/jobs/{job_id}", { params: { path: { job_id: id } }, signal })),
    refetchInterval: ({ state }) => (state.data && ENDED.has(state.data.state) ? false : LIVE_MS),
  });

export const artifactsQuery = (id: string) =>
  queryOptions({
    queryKey: ["jobs", id, "artifacts"],
    queryFn: ({ signal }) =>
      bodyOf(api.GET("/jobs/{job_id}/artifacts", { params: { path: { job_id: id } }, signal })),
    staleTime: Number.POSITIVE_INFINITY,
  });

export interface DatasetPage extends ListPage<DatasetState> {
  /** Only those whose images lie in class folders. */
  labelled?: boolean | undefined;
}

export const datasetsQuery = (page: DatasetPage) =>
  queryOptions({
    queryKey: ["datasets", page],
    queryFn: ({ signal }) =>
      bodyOf(api.GET("/datasets", { params: { query: { limit: PAGE_SIZE, ...page } }, signal })),
    placeholderData: keepPreviousData,
    refetchInterval: LIST_MS,
  });

export const datasetQuery = (id: string) =>
  queryOptions({
    queryKey: ["datasets", id],
    queryFn: ({ signal }) =>
      bodyOf(api.GET("/datasets/{dataset_id}", { params: { path: { dataset_id: id } }, signal })),
    refetchInterval: ({ state }) => (state.data && SETTLED.has(state.data.state) ? false : LIVE_MS),
  });

export const partsQuery = (id: string) =>
  queryOptions({
    queryKey: ["datasets", id, "parts"],
    queryFn: ({ signal }) =>
      bodyOf(api.GET("/datasets/{dataset_id}/parts", { params: { path: { dataset_id: id } }, signal })),
  });

export interface LeftOutPage {
  kind: LeftOutKind;
  /** Words of the path or the reason. */
  search: string;
  /** 0 is the first page. */
  cursor: number;
  limit: number;
}

/** Files that an ingest left out. The list of a dataset that is ready never changes. */
export const leftOutQuery = (id: string, page: LeftOutPage) =>
  queryOptions({
    queryKey: ["datasets", id, "left-out", page],
    queryFn: ({ signal }) =>
      bodyOf(
        api.GET("/datasets/{dataset_id}/left-out", {
          params: { path: { dataset_id: id }, query: page },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
    staleTime: Number.POSITIVE_INFINITY,
  });

export const keysQuery = (cursor: string | undefined) =>
  queryOptions({
    queryKey: ["keys", cursor],
    queryFn: ({ signal }) =>
      bodyOf(
        api.GET("/keys", { params: { query: { limit: PAGE_SIZE, ...(cursor && { cursor }) } }, signal }),
      ),
    placeholderData: keepPreviousData,
  });

export const ownersQuery = (cursor: string | undefined) =>
  queryOptions({
    queryKey: ["owners", cursor],
    queryFn: ({ signal }) =>
      bodyOf(
        api.GET("/owners", { params: { query: { limit: PAGE_SIZE, ...(cursor && { cursor }) } }, signal }),
      ),
    placeholderData: keepPreviousData,
  });

export const webhooksQuery = (cursor: string | undefined) =>
  queryOptions({
    queryKey: ["webhooks", { cursor }],
    queryFn: ({ signal }) =>
      bodyOf(
        api.GET("/webhooks", { params: { query: { limit: PAGE_SIZE, ...(cursor && { cursor }) } }, signal }),
      ),
    placeholderData: keepPreviousData,
    refetchInterval: LIST_MS,
  });

export const webhookQuery = (id: string) =>
  queryOptions({
    queryKey: ["webhooks", id],
    queryFn: ({ signal }) =>
      bodyOf(api.GET("/webhooks/{webhook_id}", { params: { path: { webhook_id: id } }, signal })),
    refetchInterval: LIST_MS,
  });

export const deliveriesQuery = (id: string, page: Omit<ListPage<DeliveryState>, "name">) =>
  queryOptions({
    queryKey: ["webhooks", id, "deliveries", page],
    queryFn: ({ signal }) =>
      bodyOf(
        api.GET("/webhooks/{webhook_id}/deliveries", {
          params: { path: { webhook_id: id }, query: { limit: DELIVERIES, ...page } },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
    refetchInterval: LIVE_MS,
  });

/** A file of the service, fetched with the key: an image's address cannot carry one. It never changes. */
export const blobQuery = (path: string) =>
  queryOptions({
    queryKey: ["blob", path],
    queryFn: async ({ signal }) => (await fetchFromApi(path, { signal })).blob(),
    staleTime: Number.POSITIVE_INFINITY,
  });

export const teachersQuery = queryOptions({
  queryKey: ["teachers"],
  queryFn: ({ signal }) => bodyOf(api.GET("/teachers", { signal })),
  staleTime: 60_000,
});
