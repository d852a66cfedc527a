import { queryOptions } from "@tanstack/react-query";
import { fetchFromApi } from "@/api/client";
import { readOptions, type Schema } from "./options";

/** The options of a job, as the running service describes them. */
export const optionFieldsQuery = queryOptions({
  queryKey: ["openapi", "job options"],
  queryFn: async ({ signal }) => {
    const document = await (await fetchFromApi("/openapi.json", { signal })).json();
    const body: Schema = document.paths["/jobs"].post.requestBody.content["application/json"].schema;
    return readOptions(body);
  },
  staleTime: Number.POSITIVE_INFINITY,
});
