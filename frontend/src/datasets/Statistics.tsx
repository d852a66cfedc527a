import { SimpleGrid, Stack, Text } from "@mantine/core";
import type { Dataset } from "@/api/client";
import { BarTable } from "@/common/BarTable";
import { formatCount } from "@/common/format";
import { Section } from "@/common/Section";

type Facts = NonNullable<Dataset["statistics"]>;
type SizeBin = NonNullable<Facts["shorter_sides"]>[number];

/** What the images are like: how large, and in which formats they came. */
export function Statistics({ statistics }: { statistics: Facts }) {
  const sizes = (statistics.shorter_sides ?? []).map((bin) => ({ name: inPixels(bin), count: bin.images }));
  const formats = Object.entries(statistics.formats)
    .map(([name, count]) => ({ name, count }))
    .sort((a, b) => b.count - a.count);
  return (
    <Section title="Sizes and formats">
      <Stack gap="lg">
        {sizes.length > 0 && (
          <BarTable label="Images by the shorter side, in pixels" head="Shorter side" bars={sizes} />
        )}
        {formats.length > 0 && <BarTable label="Images by format" head="Format" bars={formats} />}
      </Stack>
    </Section>
  );
}

function inPixels({ from_pixels, to_pixels }: SizeBin): string {
  const range = from_pixels === to_pixels ? `${from_pixels}` : `${from_pixels} to ${to_pixels}`;
  return `${range} px`;
}

interface ClassesProps {
  names: readonly string[];
  counts: Facts["class_counts"];
  splits: Dataset["splits"];
}

/** The classes that were read from the folders, with their images and the splits. */
export function Classes({ names, counts, splits }: ClassesProps) {
  const parts = Object.entries(splits ?? {}).map(
    ([split, count]) => `${split}: ${formatCount(Number(count))} images`,
  );
  const bars = names.map((name) => ({ name, count: counts?.[name] ?? 0 }));
  return (
    <Section title={`${formatCount(names.length)} classes`}>
      <Text>
        Read from the folders, so that this dataset can be a job’s probe.
        {parts.length > 0 && ` ${parts.join(", ")}.`}
      </Text>
      {counts == null ? (
        <Text size="sm" className="wrap">
          {names.join(", ")}
        </Text>
      ) : (
        <SimpleGrid cols={{ base: 1, md: 2 }}>
          {inColumns(bars).map((column, index) => (
            <BarTable
              key={column[0]?.name}
              label={`Images of each class${index > 0 ? ", continued" : ""}`}
              head="Class"
              bars={column}
            />
          ))}
        </SimpleGrid>
      )}
    </Section>
  );
}

/** A long list in two columns, where there is room for them. */
function inColumns<T>(bars: readonly T[]): (readonly T[])[] {
  if (bars.length <= 12) return [bars];
  const half = Math.ceil(bars.length / 2);
  return [bars.slice(0, half), bars.slice(half)];
}
