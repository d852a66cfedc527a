import type { Teacher } from "@/api/client";
import { ConnectionError, toApiError } from "@/api/errors";
import { readKey } from "@/api/key";

interface Send {
  form: FormData;
  /** The same for the same upload, so that one whose answer was lost makes no second teacher. */
  attempt: string;
  signal: AbortSignal;
  /** Called with the share that has been sent, 0 … 1. */
  onProgress: (share: number) => void;
}

/**
 * Upload a teacher. XMLHttpRequest, because `fetch` does not tell how much of a body has been sent.
 *
 * @throws {ApiError | ConnectionError | DOMException} refused; nothing answered; the signal said so (`AbortError`).
 */
export function sendTeacher({ form, attempt, signal, onProgress }: Send): Promise<Teacher> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open("POST", "/teachers");
    request.setRequestHeader("Idempotency-Key", attempt);
    const key = readKey();
    if (key !== null) request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.upload.onprogress = ({ loaded, total }) => onProgress(total > 0 ? loaded / total : 0);
    request.onload = () => {
      if (request.status === 201) resolve(JSON.parse(request.responseText));
      else void toApiError(toResponse(request)).then(reject, reject);
    };
    request.onerror = () => reject(new ConnectionError(null));
    request.onabort = () => reject(new DOMException("The upload was stopped.", "AbortError"));
    request.onloadend = () => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort);
    request.send(form);
  });
}

function toResponse(request: XMLHttpRequest): Response {
  const { status, statusText } = request;
  const headers = { "content-type": request.getResponseHeader("content-type") ?? "" };
  return new Response(request.responseText, { status, statusText, headers });
}
