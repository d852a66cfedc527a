/** What the form is filled with from a timm folder's `config.json`; what it does not say stays empty. */
export interface TeacherFields {
  architecture: string;
  name: string;
  imageSize: string;
  mean: string;
  std: string;
}

export const NO_FIELDS: TeacherFields = { architecture: "", name: "", imageSize: "", mean: "", std: "" };

export interface TeacherFiles {
  weights: File;
  config: File | null;
}

const PICKLE = /\.(pt|pth|bin|ckpt|pkl)$/i;

/**
 * The weights, and the configuration beside them, among what was chosen: a file, two, or a folder.
 *
 * @throws {RangeError} what is missing or too much, and the way out.
 */
export function pickTeacherFiles(files: readonly File[]): TeacherFiles {
  const weights = files.filter(({ name }) => /\.safetensors$/i.test(name));
  const [first] = weights;
  if (first === undefined) {
    const pickle = files.find(({ name }) => PICKLE.test(name));
    throw new RangeError(
      pickle
        ? `${pickle.name} may be a pickle, which can run code when it is read. Save it anew: ` +
            'safetensors.torch.save_file(model.state_dict(), "teacher.safetensors").'
        : "There is no .safetensors file among these.",
    );
  }
  if (weights.length > 1) {
    const names = weights.map(({ name }) => name).join(", ");
    throw new RangeError(
      `One .safetensors file holds a whole teacher; these are ${weights.length}: ${names}.`,
    );
  }
  return { weights: first, config: files.find(({ name }) => name === "config.json") ?? null };
}

/**
 * What a timm `config.json` says of its model.
 *
 * @throws {RangeError} it is no JSON object.
 */
export function readTimmConfig(text: string): Partial<TeacherFields> {
  const config = parseObject(text);
  const nested = config.pretrained_cfg;
  const pretrained = isObject(nested) ? { ...config, ...nested } : config;
  const size = pretrained.input_size;
  const architecture = pretrained.architecture ?? config.architecture;
  return {
    ...(typeof architecture === "string" && { architecture }),
    ...(Array.isArray(size) && typeof size.at(-1) === "number" && { imageSize: String(size.at(-1)) }),
    ...(isChannels(pretrained.mean) && { mean: pretrained.mean.join(", ") }),
    ...(isChannels(pretrained.std) && { std: pretrained.std.join(", ") }),
  };
}

/** The form of `POST /teachers`; what is empty is left to the service. */
export function toForm(weights: File, fields: TeacherFields): FormData {
  const form = new FormData();
  const texts = {
    architecture: fields.architecture,
    name: fields.name,
    image_size: fields.imageSize,
    mean: fields.mean.replaceAll(" ", ""),
    std: fields.std.replaceAll(" ", ""),
  };
  for (const [name, text] of Object.entries(texts)) {
    if (text.trim() !== "") form.append(name, text.trim());
  }
  form.append("file", weights, weights.name);
  return form;
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RangeError("config.json is no JSON.");
  }
  if (!isObject(value)) throw new RangeError("config.json holds no object.");
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isChannels(value: unknown): value is number[] {
  return Array.isArray(value) && value.length === 3 && value.every((each) => typeof each === "number");
}
