/**
 * A name for one try (`Idempotency-Key`). `crypto.randomUUID` is only for pages that came over TLS or from this machine.
 */
export function makeAttempt(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}
