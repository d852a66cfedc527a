import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import type { components } from "@/api/schema";
import type { PlannedPart } from "./plan";
import { PartFailed, PartRefused, postPart, putPart } from "./put";

type Target = components["schemas"]["UploadTarget"];

/** The browser does not get at the store, or the store does not take it: the service takes parts, too. */
export class StoreUnreachable extends Error {}

export interface DirectPart {
  part: PlannedPart;
  body: Blob | Uint8Array<ArrayBuffer>;
  /** Of the part on the service: `/datasets/{id}/parts/{number}`. */
  path: string;
  key: string | null;
  signal: AbortSignal;
  onProgress: (bytes: number) => void;
}

/** Sends parts straight into the store, by URLs that the service signs for the bytes of each. */
export class DirectSender {
  private hasWorked = false;

  /**
   * Send one part and return its sha256.
   *
   * @throws {StoreUnreachable} the store has taken none yet, and does not take this one.
   * @throws {PartRefused | PartFailed | DOMException} as the ordinary upload does.
   */
  async send({ part, body, path, key, signal, onProgress }: DirectPart): Promise<string> {
    const digest = bytesToHex(await hash(body));
    const size_bytes = body instanceof Blob ? body.size : body.byteLength;
    const announced = { filename: part.filename, size_bytes, sha256: digest };
    const target = await postPart<Target>(`${path}/upload-url`, key, announced, signal);
    if (!target.direct || target.confirm === null) throw new StoreUnreachable("The service takes the parts.");
    try {
      await putPart({ url: target.url, headers: target.headers, body, signal, onProgress });
    } catch (error) {
      if (!(error instanceof PartFailed || error instanceof PartRefused)) throw error;
      if (!this.hasWorked) throw new StoreUnreachable(error.message);
      // What is refused now may be late: the next try asks for another URL.
      throw new PartFailed(`The store: ${error.message}`);
    }
    const { sha256 } = await postPart<{ sha256: string }>(target.confirm, key, { sha256: digest }, signal);
    this.hasWorked = true;
    return sha256;
  }
}

/** A large file is hashed as it is read, and never held as a whole. */
async function hash(body: Blob | Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  if (!(body instanceof Blob)) return sha256(body);
  const state = sha256.create();
  const reader = body.stream().getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) state.update(read.value);
  return state.digest();
}
