import createClient from "openapi-fetch";
import { noteAnswer, noteSilence } from "./connection";
import { ConnectionError, toApiError } from "./errors";
import { readKey } from "./key";
import type { components, paths } from "./schema";

type Schemas = components["schemas"];
export type Job = Schemas["JobOut"];
export type JobState = Schemas["JobState"];
export type Phase = Schemas["Phase"];
export type JobEvent = Schemas["EventOut"];
export type Artifact = Schemas["ArtifactOut"];
export type Dataset = Schemas["DatasetOut"];
export type DatasetState = Schemas["DatasetState"];
export type LeftOutKind = Schemas["LeftOutKind"];
export type Teacher = Schemas["TeacherOut"];
export type Part = Schemas["PartOut"];
export type ApiKey = Schemas["KeyOut"];
export type Scope = Schemas["Scope"];
export type Owner = Schemas["OwnerOut"];
export type Me = Schemas["Me"];
export type Webhook = Schemas["WebhookOut"];
export type WebhookWithSecret = Schemas["WebhookWithSecret"];
export type WebhookEventType = Schemas["WebhookEventType"];
export type Delivery = Schemas["DeliveryOut"];
export type DeliveryState = Schemas["DeliveryState"];

/**
 * `fetch` with the key, and with errors that say what to do.
 *
 * @throws {ConnectionError} nothing answered.
 * @throws {ApiError} the service refused.
 */
export async function fetchFromApi(input: Request | string, init?: RequestInit): Promise<Response> {
  const request = new Request(input, init);
  const key = readKey();
  if (key !== null) request.headers.set("Authorization", `Bearer ${key}`);
  let response: Response;
  try {
    response = await fetch(request);
  } catch (error) {
    if (request.signal.aborted) throw error;
    noteSilence();
    throw new ConnectionError(error);
  }
  noteAnswer();
  if (!response.ok) throw await toApiError(response);
  return response;
}

export const api = createClient<paths>({ baseUrl: location.origin, fetch: fetchFromApi });

/** The body of an answer that has one; what goes wrong was thrown before. */
export async function bodyOf<T>(call: Promise<{ data?: T }>): Promise<T> {
  const { data } = await call;
  if (data === undefined) throw new TypeError("The service's answer has no body.");
  return data;
}
