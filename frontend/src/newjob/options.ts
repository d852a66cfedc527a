/** What the API's own document says of an option; the form is made from it, so that both always agree. */
export interface OptionField {
  name: string;
  description: string;
  kind: "choice" | "switch" | "number" | "list";
  choices: string[];
  isInteger: boolean;
  least: number | undefined;
  most: number | undefined;
}

export interface Schema {
  type?: string;
  description?: string;
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  properties?: Record<string, Schema>;
}

/** Fields that the form shows by itself. */
const SHOWN_ELSEWHERE: ReadonlySet<string> = new Set([
  "teacher",
  "dataset_id",
  "probe",
  "name",
  "recipe",
  "r",
  "k",
]);

/** The options that a job's body has beside those that the form shows by itself. */
export function readOptions(body: Schema): OptionField[] {
  return Object.entries(body.properties ?? {})
    .filter(([name]) => !SHOWN_ELSEWHERE.has(name))
    .map(([name, schema]) => toField(name, schema));
}

function toField(name: string, schema: Schema): OptionField {
  // What may be left to the recipe is `anyOf` the option's own schema and null.
  const own = schema.anyOf?.find(({ type }) => type !== "null") ?? schema;
  const description = schema.description ?? own.description ?? "";
  const base = {
    name,
    description,
    isInteger: own.type === "integer",
    least: own.minimum,
    most: own.maximum,
  };
  if (own.enum !== undefined) return { ...base, kind: "choice", choices: own.enum.map(String) };
  if (own.type === "boolean") return { ...base, kind: "switch", choices: ["true", "false"] };
  if (own.type === "array") return { ...base, kind: "list", choices: [] };
  return { ...base, kind: "number", choices: [] };
}

/**
 * The value to send for what was entered; undefined leaves it to the recipe. What is no number goes as it is: the
 * service says what is wrong with it, at its field.
 */
export function toValue(field: OptionField, entered: string): unknown {
  const text = entered.trim();
  if (text === "") return undefined;
  switch (field.kind) {
    case "choice":
      return text;
    case "switch":
      return text === "true";
    case "list":
      return text.split(",").map((each) => asNumber(each.trim()));
    case "number":
      return asNumber(text);
    default:
      return field.kind satisfies never;
  }
}

/** What to show for a value that an earlier job was given. */
export function toText(value: unknown): string {
  return value == null ? "" : String(value);
}

function asNumber(text: string): number | string {
  const value = Number(text);
  return text === "" || Number.isNaN(value) ? text : value;
}
