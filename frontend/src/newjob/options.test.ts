import { expect, test } from "vitest";
import { readOptions, toText, toValue } from "./options";

const fields = readOptions({
  properties: {
    teacher: { type: "string" },
    init: {
      anyOf: [{ type: "string", enum: ["copy", "closed-form"] }, { type: "null" }],
      description: "How.",
    },
    normalise_targets: { anyOf: [{ type: "boolean" }, { type: "null" }] },
    layers: { anyOf: [{ type: "array" }, { type: "null" }] },
    epochs: { anyOf: [{ type: "integer", minimum: 0, maximum: 1000 }, { type: "null" }] },
    seed: { type: "integer", minimum: 0 },
  },
});
const field = (name: string) => {
  const found = fields.find((each) => each.name === name);
  if (found === undefined) throw new Error(`there is no field ${name}`);
  return found;
};

test("options that the recipe may give are read through their null, others directly", () => {
  expect(fields.map(({ name, kind }) => [name, kind])).toEqual([
    ["init", "choice"],
    ["normalise_targets", "switch"],
    ["layers", "list"],
    ["epochs", "number"],
    ["seed", "number"],
  ]);
  expect(field("init")).toMatchObject({ choices: ["copy", "closed-form"], description: "How." });
  expect(field("epochs")).toMatchObject({ isInteger: true, least: 0, most: 1000 });
});

test.each([
  ["init", "copy", "copy"],
  ["init", "", undefined],
  ["normalise_targets", "false", false],
  ["layers", "1, 3,5", [1, 3, 5]],
  ["layers", "1,x", [1, "x"]],
  ["epochs", " 12 ", 12],
  ["epochs", "many", "many"],
])("%s entered as %j is sent as %j", (name, entered, sent) => {
  expect(toValue(field(name), entered)).toEqual(sent);
});

test("what was sent is shown as it is entered", () => {
  for (const [name, text] of [
    ["layers", "1,3,5"],
    ["epochs", "12"],
    ["normalise_targets", "false"],
  ] as const) {
    expect(toText(toValue(field(name), text))).toBe(text);
  }
});
