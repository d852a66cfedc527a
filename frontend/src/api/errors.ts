import type { components } from "./schema";

export type Problem = components["schemas"]["Problem"];

/** The service refused, with an RFC 9457 problem document. */
export class ApiError extends Error {
  constructor(
    readonly problem: Problem,
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(problem.detail);
    this.name = "ApiError";
  }

  get status(): number {
    return this.problem.status;
  }

  /** What is wrong with a field, with what is allowed; undefined where nothing is. */
  fieldMessage(field: string): string | undefined {
    const found = this.problem.errors?.find((error) => error.field === field);
    if (found === undefined) return undefined;
    return found.allowed ? `${found.message} (allowed: ${found.allowed})` : found.message;
  }
}

/** Nothing answered. */
export class ConnectionError extends Error {
  constructor(cause: unknown) {
    super("The service does not answer.", { cause });
    this.name = "ConnectionError";
  }
}

/** Whether the same request may do better later: nobody answered, or the service said so. */
export function isPassing(error: unknown): boolean {
  if (error instanceof ConnectionError) return true;
  return error instanceof ApiError && (error.status >= 500 || error.status === 429);
}

/** The problem of an answer; what is no problem document (a proxy's page) becomes one. */
export async function toApiError(response: Response): Promise<ApiError> {
  const text = await response.text();
  const after = Number(response.headers.get("retry-after"));
  return new ApiError(parseProblem(text, response), Number.isFinite(after) && after > 0 ? after : null);
}

function parseProblem(text: string, response: Response): Problem {
  if (response.headers.get("content-type")?.startsWith("application/problem+json")) return JSON.parse(text);
  return {
    type: "about:blank",
    title: response.statusText,
    status: response.status,
    detail: `The answer was ${response.status} ${response.statusText}, and not from the service itself.`,
    code: "foreign_answer",
    errors: [],
    instance: URL.parse(response.url)?.pathname ?? "",
  };
}
