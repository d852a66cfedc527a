import { Group, Select, type SelectProps, Stack, Text } from "@mantine/core";
import type { Teacher } from "@/api/client";
import { formatCount, formatParameters } from "@/common/format";

interface Props {
  teachers: Teacher[];
  value: string | null;
  onChange: (id: string | null) => void;
  error: string | undefined;
}

/** The catalogue and the user's own teachers, to be searched by anything that is said of them. */
export function TeacherSelect({ teachers, value, onChange, error }: Props) {
  const byId = new Map(teachers.map((teacher) => [teacher.id, teacher]));
  const option: SelectProps["renderOption"] = ({ option }) => {
    const teacher = byId.get(option.value);
    return teacher ? <TeacherRow teacher={teacher} /> : option.label;
  };
  return (
    <Select
      label="Teacher"
      description="A pretrained vision transformer of timm. Type to search: name, family, size."
      placeholder="vit_base_patch16_224"
      required
      searchable
      limit={60}
      data={inGroups(teachers)}
      filter={({ options, search, limit }) => {
        const words = search.toLowerCase().split(/\s+/).filter(Boolean);
        const fits = (id: string) => {
          const teacher = byId.get(id);
          const text = teacher ? searchText(teacher) : id.toLowerCase();
          return words.every((word) => text.includes(word));
        };
        let room = limit;
        return options.map((each) => {
          if (!("items" in each)) return each;
          const items = each.items.filter(({ value }) => fits(value)).slice(0, room);
          room -= items.length;
          return { ...each, items };
        });
      }}
      renderOption={option}
      nothingFoundMessage="No teacher of the catalogue fits."
      value={value}
      onChange={onChange}
      error={error}
    />
  );
}

/** The user's own first, under a heading of their own. */
function inGroups(teachers: readonly Teacher[]) {
  const [own, others] = [
    teachers.filter(({ kind }) => kind === "uploaded"),
    teachers.filter(({ kind }) => kind !== "uploaded"),
  ];
  const toItem = ({ id, name }: Teacher) => ({ value: id, label: name });
  return [
    { group: "Your own", items: own.map(toItem) },
    { group: "Catalogue", items: others.map(toItem) },
  ].filter(({ items }) => items.length > 0);
}

function searchText(teacher: Teacher): string {
  const { name, aliases, family, description, license, kind, depth, embed_dim, image_size } = teacher;
  return [name, ...(aliases ?? []), family, description, license, kind, depth, embed_dim, image_size]
    .join(" ")
    .toLowerCase();
}

function TeacherRow({ teacher }: { teacher: Teacher }) {
  return (
    <Stack gap={0}>
      <Text size="sm" fw={600} className="wrap">
        {teacher.name}
      </Text>
      <Text size="xs" c="dimmed">
        {teacher.depth} blocks · {teacher.embed_dim} wide · {formatParameters(teacher.parameters)} parameters
        · {teacher.image_size} px ·{" "}
        {teacher.kind === "uploaded" ? "your own" : (teacher.license ?? "no licence named")}
      </Text>
    </Stack>
  );
}

/** What is known of the chosen teacher. */
export function TeacherFacts({ teacher }: { teacher: Teacher }) {
  const facts: [string, string][] = [
    ["Blocks", formatCount(teacher.depth)],
    ["Width", formatCount(teacher.embed_dim)],
    ["Parameters", formatParameters(teacher.parameters)],
    ["Input", `${teacher.image_size} px, patches of ${teacher.patch_size}`],
    ["Licence", teacher.license ?? "–"],
  ];
  return (
    <Group component="dl" gap="lg" m={0}>
      {facts.map(([name, value]) => (
        <div key={name}>
          <Text component="dt" size="xs" c="dimmed">
            {name}
          </Text>
          <Text component="dd" size="sm" m={0}>
            {value}
          </Text>
        </div>
      ))}
    </Group>
  );
}
