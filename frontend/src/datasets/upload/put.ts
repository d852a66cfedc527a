/** The service refused a part for good. */
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
 * Send one part and return the sha256 of what arrived. XMLHttpRequest, because `fetch` does not tell how much of a
 * body has been sent.
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
      if (request.status === 200 || request.status === 201) resolve(JSON.parse(request.responseText).sha256);
      else reject(toError(request));
    };
    request.onerror = () => reject(new PartFailed("The service does not answer."));
    request.onabort = () => reject(new DOMException("The upload was paused.", "AbortError"));
    request.onloadend = () => signal.removeEventListener("abort", abort);
    if (signal.aborted) return reject(new DOMException("The upload was paused.", "AbortError"));
    signal.addEventListener("abort", abort);
    request.send(body);
  });
}

function toError(request: XMLHttpRequest): Error {
  const detail = detailOf(request);
  // 422 with a checksum that differs: the bytes were hurt on the way.
  const isPassing = request.status >= 500 || request.status === 429 || detail.code === "checksum_mismatch";
  return isPassing ? new PartFailed(detail.text) : new PartRefused(detail.text);
}

function detailOf(request: XMLHttpRequest): { code: string; text: string } {
  if (request.getResponseHeader("Content-Type")?.startsWith("application/problem+json")) {
    const { code, detail } = JSON.parse(request.responseText);
    return { code, text: detail };
  }
  return { code: "", text: `The answer was ${request.status} ${request.statusText}.` };
}
