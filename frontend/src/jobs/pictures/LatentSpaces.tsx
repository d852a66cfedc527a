import { SimpleGrid, Stack, Text, UnstyledButton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import type { Artifact } from "@/api/client";
import { blobQuery } from "@/api/queries";
import { ErrorNote } from "@/common/ErrorNote";
import { formatCount } from "@/common/format";
import { Loading } from "@/common/Loading";
import { useObjectUrl } from "@/common/useObjectUrl";
import { LatentMap } from "./LatentMap";
import classes from "./LatentSpaces.module.css";
import { fitToSquare, lookOf, traceMark } from "./maps";
import { type LatentSpaceData, pictureQuery } from "./pictureData";

/** t-SNE of teacher and student side by side: a point under the pointer is lit in both, with its image. */
export function LatentSpaces({ file, sheet }: { file: Artifact; sheet: Artifact }) {
  const data = useQuery(pictureQuery<LatentSpaceData>(file));
  const thumbnails = useQuery(blobQuery(sheet.links.self ?? ""));
  const url = useObjectUrl(thumbnails.data);
  const error = data.error ?? thumbnails.error;
  if (error) return <ErrorNote error={error} />;
  if (data.data === undefined) return <Loading what="the latent spaces" />;
  return <Maps data={data.data} sheetUrl={url} />;
}

function Maps({ data, sheetUrl }: { data: LatentSpaceData; sheetUrl: string | null }) {
  const [shownImage, setShownImage] = useState<number | null>(null);
  const [shownClass, setShownClass] = useState<number | null>(null);
  const places = useMemo(() => data.models.map(({ coordinates }) => fitToSquare(coordinates)), [data]);
  const count = data.labels.length;
  const said =
    shownImage === null
      ? ""
      : `Image ${shownImage + 1} of ${count}, class ${data.classes[data.labels[shownImage] ?? 0]}`;
  return (
    <Stack gap="sm">
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        {data.models.map(({ name }, index) => (
          <LatentMap
            key={name}
            name={name}
            data={data}
            places={places[index] ?? []}
            sheetUrl={sheetUrl}
            shownImage={shownImage}
            shownClass={shownClass}
            onShow={setShownImage}
          />
        ))}
      </SimpleGrid>
      {/* biome-ignore lint/a11y/useSemanticElements: buttons are no fields of a form */}
      <div className={classes.classes} role="group" aria-label="Classes">
        {data.classes.map((name, label) => (
          <UnstyledButton
            key={name}
            className={classes.class}
            aria-pressed={shownClass === label}
            onClick={() => setShownClass(shownClass === label ? null : label)}
          >
            <Swatch label={label} />
            <span className="cut">{name}</span>
          </UnstyledButton>
        ))}
      </div>
      <Text size="sm" c="dimmed">
        t-SNE of the features of {formatCount(count)} of {formatCount(data.images_found)} labelled test
        images, before any classifier. Point at an image, or step through them with the arrow keys; choose a
        class to see it alone. Only nearness has a meaning.
      </Text>
      <Text className="heard" role="status">
        {said}
      </Text>
    </Stack>
  );
}

/** The mark of a class, as it is on the maps. */
function Swatch({ label }: { label: number }) {
  const { colour, mark } = lookOf(label);
  const draw = (canvas: HTMLCanvasElement | null) => {
    const context = canvas?.getContext("2d");
    if (!context) return;
    context.clearRect(0, 0, 32, 32);
    context.fillStyle = colour;
    traceMark(context, mark, [16, 16], 10);
    context.fill();
  };
  return <canvas ref={draw} width={32} height={32} className={classes.swatch} aria-hidden />;
}
