import { Image, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { Dataset } from "@/api/client";
import { blobQuery } from "@/api/queries";
import { ErrorNote } from "@/common/ErrorNote";
import { formatCount } from "@/common/format";
import { Section } from "@/common/Section";
import { useObjectUrl } from "@/common/useObjectUrl";

type Layout = NonNullable<Dataset["contact_sheet"]>;

/** Some of the images, evenly taken, as the service has encoded them anew. */
export function ContactSheet({ dataset, layout }: { dataset: Dataset; layout: Layout }) {
  const sheet = useQuery(blobQuery(dataset.links?.contact_sheet ?? ""));
  const url = useObjectUrl(sheet.data);
  const isAll = layout.tiles === dataset.image_count;
  const words = isAll
    ? `All ${formatCount(layout.tiles)} images, cut to squares.`
    : `${formatCount(layout.tiles)} of the ${formatCount(dataset.image_count)} images, evenly taken and cut to squares.`;
  const [columns, rows] = [Math.min(layout.columns, layout.tiles), Math.ceil(layout.tiles / layout.columns)];
  return (
    <Section title="Contact sheet">
      {sheet.error && <ErrorNote error={sheet.error} />}
      <Image
        src={url}
        alt={words}
        w="100%"
        // A few tiny images are not blown up to the page's width.
        maw={`${columns * layout.tile_pixels}px`}
        radius="sm"
        style={{ aspectRatio: `${columns} / ${rows}`, clipPath: withoutRest(layout.tiles, columns, rows) }}
      />
      <Text size="sm" c="dimmed">
        {words}
      </Text>
    </Section>
  );
}

/** The sheet without the white rest of its last row. */
function withoutRest(tiles: number, columns: number, rows: number): string {
  const inLastRow = tiles - columns * (rows - 1);
  const [across, down] = [`${(100 * inLastRow) / columns}%`, `${(100 * (rows - 1)) / rows}%`];
  return `polygon(0 0, 100% 0, 100% ${down}, ${across} ${down}, ${across} 100%, 0 100%)`;
}
