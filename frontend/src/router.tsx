import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  redirect,
} from "@tanstack/react-router";
import type { DatasetState, DeliveryState, JobState } from "@/api/client";
import { NotFound } from "@/app/NotFound";
import { RouteError } from "@/app/RouteError";
import { Shell } from "@/app/Shell";
import type { Filter } from "@/common/ListFilter";

/** What is in the URL of a list, so that it can be shared. */
export interface ListSearch<State extends string> extends Filter<State> {
  cursor?: string;
}

const JOB_STATES: readonly JobState[] = ["queued", "running", "succeeded", "failed", "cancelled"];
const DELIVERY_STATES: readonly DeliveryState[] = ["pending", "delivered", "failed"];
const DATASET_STATES: readonly DatasetState[] = ["uploading", "ingesting", "ready", "failed"];

function listSearch<State extends string>(states: readonly State[]) {
  return (search: Record<string, unknown>): ListSearch<State> => {
    const state = states.find((each) => each === search.state);
    return {
      ...(state !== undefined && { state }),
      // A name of digits alone is a number in the address.
      ...((typeof search.name === "string" || typeof search.name === "number") && {
        name: String(search.name),
      }),
      ...(typeof search.cursor === "string" && { cursor: search.cursor }),
    };
  };
}

/** A new job may begin from a dataset, or from what an earlier job was given. */
export interface NewJobSearch {
  dataset?: string;
  from?: string;
}

const rootRoute = createRootRoute({ component: Shell, notFoundComponent: NotFound });

const indexRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/",
  beforeLoad: () => {
    throw redirect({ to: "/jobs", replace: true });
  },
});

const jobsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/jobs",
  validateSearch: listSearch(JOB_STATES),
  component: lazyRouteComponent(() => import("@/jobs/JobsPage"), "JobsPage"),
});

const newJobRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/jobs/new",
  validateSearch: (search: Record<string, unknown>): NewJobSearch => ({
    ...(typeof search.dataset === "string" && { dataset: search.dataset }),
    ...(typeof search.from === "string" && { from: search.from }),
  }),
  component: lazyRouteComponent(() => import("@/newjob/NewJobPage"), "NewJobPage"),
});

const jobRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/jobs/$jobId",
  component: lazyRouteComponent(() => import("@/jobs/JobPage"), "JobPage"),
});

const datasetsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/datasets",
  validateSearch: listSearch(DATASET_STATES),
  component: lazyRouteComponent(() => import("@/datasets/DatasetsPage"), "DatasetsPage"),
});

const datasetRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/datasets/$datasetId",
  component: lazyRouteComponent(() => import("@/datasets/DatasetPage"), "DatasetPage"),
});

const compareRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/compare",
  validateSearch: (search: Record<string, unknown>): { jobs?: string[] } =>
    Array.isArray(search.jobs) ? { jobs: search.jobs.filter((id) => typeof id === "string") } : {},
  component: lazyRouteComponent(() => import("@/compare/ComparePage"), "ComparePage"),
});

const accountRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/usage",
  component: lazyRouteComponent(() => import("@/account/AccountPage"), "AccountPage"),
});

const webhooksRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/webhooks",
  validateSearch: (search: Record<string, unknown>): { cursor?: string } =>
    typeof search.cursor === "string" ? { cursor: search.cursor } : {},
  component: lazyRouteComponent(() => import("@/webhooks/WebhooksPage"), "WebhooksPage"),
});

const webhookRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/webhooks/$webhookId",
  validateSearch: listSearch(DELIVERY_STATES),
  component: lazyRouteComponent(() => import("@/webhooks/WebhookPage"), "WebhookPage"),
});

export const router = createRouter({
  routeTree: rootRoute.addChildren([
    indexRoute,
    jobsRoute,
    newJobRoute,
    jobRoute,
    datasetsRoute,
    datasetRoute,
    compareRoute,
    accountRoute,
    webhooksRoute,
    webhookRoute,
  ]),
  basepath: "/dashboard",
  defaultPreload: "intent",
  defaultErrorComponent: RouteError,
  scrollRestoration: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
