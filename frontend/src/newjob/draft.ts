import type { Job } from "@/api/client";
import { type OptionField, toText, toValue } from "./options";

export const RECIPES = ["best", "paper", "instant"] as const;
export type Recipe = (typeof RECIPES)[number];
export const USUAL_RANK = 128;

/** The form's values. */
export interface Draft {
  name: string;
  teacher: string | null;
  datasetId: string | null;
  probeId: string | null;
  recipe: Recipe | null;
  r: number;
  /** null: the service's usual rank for the teacher. */
  k: number | null;
  /** Advanced options as they are entered; what is missing or empty is left to the recipe. */
  options: Record<string, string>;
}

export function emptyDraft(): Draft {
  return {
    name: "",
    teacher: null,
    datasetId: null,
    probeId: null,
    recipe: null,
    r: 2,
    k: null,
    options: {},
  };
}

/** What an earlier job was given, to change and start again. */
export function fromJob(job: Job): Draft {
  const { recipe, r, k, ...others } = job.given;
  return {
    name: job.name ?? "",
    teacher: toText(job.teacher.teacher_id ?? job.teacher.name),
    datasetId: job.dataset_id,
    probeId: job.probe?.dataset_id ?? null,
    recipe: RECIPES.find((each) => each === recipe) ?? null,
    r: typeof r === "number" ? r : job.r,
    k: typeof k === "number" ? k : null,
    options: Object.fromEntries(Object.entries(others).map(([name, value]) => [name, toText(value)])),
  };
}

/** The body of `POST /jobs`. */
export function toBody(draft: Draft, fields: readonly OptionField[]): Record<string, unknown> {
  const options = fields
    .map((field) => [field.name, toValue(field, draft.options[field.name] ?? "")] as const)
    .filter(([, value]) => value !== undefined);
  return {
    ...Object.fromEntries(options),
    teacher: draft.teacher,
    dataset_id: draft.datasetId,
    r: draft.r,
    ...(draft.k !== null && { k: draft.k }),
    ...(draft.recipe !== null && { recipe: draft.recipe }),
    ...(draft.name.trim() !== "" && { name: draft.name }),
    ...(draft.probeId !== null && { probe: { dataset_id: draft.probeId } }),
  };
}
