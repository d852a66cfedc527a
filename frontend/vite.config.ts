import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

export default defineConfig({
  base: "/dashboard/",
  plugins: [react()],
  resolve: { alias: { "@": fileURLToPath(new URL("src", import.meta.url)) } },
  // The API puts a fresh nonce in the place of these words: api/dashboard/serving.py.
  html: { cspNonce: "__CSP_NONCE__" },
  build: {
    target: "es2023",
    // A data: URL is an asset that no cache keeps; everything is a file of its own.
    assetsInlineLimit: 0,
    manifest: true,
    // Scripts that preload each other need no inline polyfill, which the policy would refuse.
    modulePreload: { polyfill: false },
  },
  worker: { format: "es" },
  server: {
    proxy: Object.fromEntries(
      ["/datasets", "/jobs", "/teachers", "/keys", "/me", "/owners", "/webhooks", "/readyz"].map((path) => [
        path,
        "http://127.0.0.1:8000",
      ]),
    ),
  },
  test: { include: ["src/**/*.test.ts"], testTimeout: 60_000 },
});
