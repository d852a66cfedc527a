/** The service or the store refused a part for good. */
export class PartRefused extends Error {}

/** It may go better later. */
export class PartFailed extends Error {}

interface Put {
  url: string;
  headers: Record<string, string>;
  body: Blob | Uint8Array<ArrayBuffer>;
  signal: AbortSignal;
  onProgress: (bytes: number) => void;
}

/**
 * Send one part and return the text of the answer. XMLHttpRequest, because `fetch` does not tell how much of a body has
 * been sent.
 *
 * @throws {PartRefused | PartFailed | DOMException} the last one (`AbortError`) when the signal said so.
 */
export function putPart({ url, headers, body, signal, onProgress }: Put): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open("PUT", url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve(request.responseText);
      else reject(toError(request.status, request.getResponseHeader("Content-Type"), request.responseText));
    };
    request.onerror = () => reject(new PartFailed("The service does not answer."));
    request.onabort = () => reject(new DOMException("The upload was paused.", "AbortError"));
    request.onloadend = () => signal.removeEventListener("abort", abort);
    if (signal.aborted) return reject(new DOMException("The upload was paused.", "AbortError"));
    signal.addEventListener("abort", abort);
    request.send(body);
  });
}

/**
 * Ask the service about a part.
 *
 * @throws {PartRefused | PartFailed | DOMException} as above.
 */
export async function postPart<Answer>(
  url: string,
  key: string | null,
  body: unknown,
  signal: AbortSignal,
): Promise<Answer> {
  const headers = {
    "Content-Type": "application/json",
    ...(key !== null && { Authorization: `Bearer ${key}` }),
  };
  let response: Response;
  try {
    response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body), signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new PartFailed("The service does not answer.");
  }
  if (response.ok) return response.json();
  throw toError(response.status, response.headers.get("Content-Type"), await response.text());
}

/** Codes of what was hurt or lost on the way. */
const PASSING: ReadonlySet<string> = new Set(["checksum_mismatch", "not_uploaded"]);

function toError(status: number, type: string | null, text: string): Error {
  const detail = detailOf(status, type, text);
  const isPassing = status >= 500 || status === 429 || PASSING.has(detail.code);
  return isPassing ? new PartFailed(detail.text) : new PartRefused(detail.text);
}

function detailOf(status: number, type: string | null, text: string): { code: string; text: string } {
  if (type?.startsWith("application/problem+json")) {
    const { code, detail } = JSON.parse(text);
    return { code, text: detail };
  }
  return { code: "", text: `The answer was ${status}.` };
}
