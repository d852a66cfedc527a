import { expect, test } from "vitest";
import { NO_FIELDS, pickTeacherFiles, readTimmConfig, toForm } from "./teacherFiles";

const file = (name: string) => new File(["x"], name);

test("a bare file, two files and a folder's files are teachers", () => {
  const weights = file("model.safetensors");
  const config = file("config.json");
  expect(pickTeacherFiles([weights])).toEqual({ weights, config: null });
  expect(pickTeacherFiles([file("README.md"), config, weights])).toEqual({ weights, config });
});

test.each([
  [["model.pt"], /pickle.*save_file/],
  [["a.safetensors", "b.safetensors"], /these are 2/],
  [["config.json"], /no \.safetensors/],
])("%o is refused with the way out", (names, words) => {
  expect(() => pickTeacherFiles(names.map(file))).toThrow(words);
});

test("timm's two forms of a configuration fill the fields", () => {
  const pretrained = { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], input_size: [3, 384, 384] };
  const expected = {
    architecture: "vit_small_patch16_384",
    imageSize: "384",
    mean: "0.5, 0.5, 0.5",
    std: "0.25, 0.25, 0.25",
  };
  const architecture = "vit_small_patch16_384";
  expect(readTimmConfig(JSON.stringify({ architecture, pretrained_cfg: pretrained }))).toEqual(expected);
  expect(readTimmConfig(JSON.stringify({ architecture, ...pretrained }))).toEqual(expected);
  expect(readTimmConfig('{"mean": [1], "input_size": "large"}')).toEqual({});
  expect(() => readTimmConfig("no json")).toThrow(/no JSON/);
  expect(() => readTimmConfig("[1]")).toThrow(/no object/);
});

test("what is empty is not sent, and channels go without blanks", () => {
  const fields = { ...NO_FIELDS, architecture: " vit_tiny_patch16_224 ", mean: "0.5, 0.5, 0.5" };
  const form = toForm(file("a.safetensors"), fields);
  expect([...form.keys()]).toEqual(["architecture", "mean", "file"]);
  expect([form.get("architecture"), form.get("mean")]).toEqual(["vit_tiny_patch16_224", "0.5,0.5,0.5"]);
});
