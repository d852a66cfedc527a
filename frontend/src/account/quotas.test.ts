import { expect, test } from "vitest";
import { changedQuotas, shareUsed } from "./quotas";

test.each([
  [5, 10, 0.5],
  [20, 10, 1],
  [0, 0, 1],
  [7, null, null],
])("%i of %s is a share of %s", (used, most, share) => {
  expect(shareUsed(used, most)).toBe(share);
});

test("only what was changed is sent, and what was emptied goes back to the deployment's number", () => {
  const now = {
    bytes: 1000,
    images: null,
    running_jobs: 2,
    queued_jobs: 20,
    device_seconds: null,
    webhooks: 5,
  };
  expect(changedQuotas(now, {})).toEqual({});
  expect(changedQuotas(now, { bytes: 1000, images: "", running_jobs: 4, queued_jobs: "" })).toEqual({
    running_jobs: 4,
    queued_jobs: null,
  });
});
