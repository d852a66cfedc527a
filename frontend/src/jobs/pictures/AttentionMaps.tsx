import { Group, SimpleGrid, Slider, Stack, Text, Title, UnstyledButton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type KeyboardEvent, useCallback, useState } from "react";
import type { Artifact } from "@/api/client";
import { blobQuery } from "@/api/queries";
import { ErrorNote } from "@/common/ErrorNote";
import { formatShare } from "@/common/format";
import { Loading } from "@/common/Loading";
import classes from "./AttentionMaps.module.css";
import { blendGrids, heatPixels } from "./heat";
import { type AttentionData, pictureQuery, type Sheet, tileAt } from "./pictureData";
import { useBitmap } from "./useBitmap";

type Grid = readonly (readonly number[])[];

/** Where teacher and student look, over some of the images; a slider goes from the one to the other. */
export function AttentionMaps({ file, sheet }: { file: Artifact; sheet: Artifact }) {
  const data = useQuery(pictureQuery<AttentionData>(file));
  const views = useQuery(blobQuery(sheet.links.self ?? ""));
  const bitmap = useBitmap(views.data);
  const error = data.error ?? views.error;
  if (error) return <ErrorNote error={error} />;
  if (data.data === undefined || bitmap === null) return <Loading what="the attention" />;
  return <Overlays data={data.data} bitmap={bitmap} />;
}

function Overlays({ data, bitmap }: { data: AttentionData; bitmap: ImageBitmap }) {
  const [image, setImage] = useState(0);
  const [strength, setStrength] = useState(0.8);
  const [share, setShare] = useState(0.5);
  const { teacher, student } = data.images[image]?.grids ?? {};
  const common = { bitmap, sheet: data.sheet, image, strength };
  return (
    <Stack gap="sm">
      <Choices data={data} bitmap={bitmap} chosen={image} onChoose={setImage} />
      <Group gap="sm" maw="30rem">
        <Text size="sm">Attention over the image</Text>
        <Percent value={strength} onChange={setStrength} label="Attention over the image" />
      </Group>
      <SimpleGrid cols={{ base: 1, sm: 3 }} maw="70rem">
        {teacher && <Overlay {...common} title="Teacher" grid={teacher} />}
        {student && <Overlay {...common} title="Student" grid={student} />}
        {teacher && student && teacher.length === student.length && (
          <Stack gap={4}>
            <Overlay {...common} title="Between them" grid={blendGrids(teacher, student, share)} />
            <Group gap="xs" wrap="nowrap" maw="22rem">
              <Text size="sm">Teacher</Text>
              <Percent value={share} onChange={setShare} label="From teacher to student" />
              <Text size="sm">Student</Text>
            </Group>
          </Stack>
        )}
      </SimpleGrid>
      <Text size="sm" c="dimmed">
        Attention rollout on what the models see of each image: heads fused by their maximum, the lowest nine
        tenths set to zero, multiplied over the blocks. Bright is where it looks; each map by its own scale.
      </Text>
    </Stack>
  );
}

interface PercentProps {
  value: number;
  onChange: (value: number) => void;
  label: string;
}

function Percent({ value, onChange, label }: PercentProps) {
  return (
    <Slider
      flex={1}
      min={0}
      max={1}
      step={0.05}
      value={value}
      onChange={onChange}
      label={formatShare}
      thumbLabel={label}
    />
  );
}

interface ChoicesProps {
  data: AttentionData;
  bitmap: ImageBitmap;
  chosen: number;
  onChoose: (image: number) => void;
}

/** The images in small, one of them chosen. */
function Choices({ data, bitmap, chosen, onChoose }: ChoicesProps) {
  const step = (event: KeyboardEvent<HTMLElement>) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const next = (chosen + by + data.images.length) % data.images.length;
    onChoose(next);
    event.currentTarget.querySelectorAll<HTMLElement>("[role=radio]")[next]?.focus();
  };
  return (
    <div className={classes.choices} role="radiogroup" aria-label="Image" onKeyDown={step}>
      {data.images.map(({ file }, image) => (
        <UnstyledButton
          key={file}
          role="radio"
          aria-checked={image === chosen}
          aria-label={`Image ${image + 1}`}
          tabIndex={image === chosen ? 0 : -1}
          className={classes.choice}
          onClick={() => onChoose(image)}
        >
          <Thumbnail bitmap={bitmap} sheet={data.sheet} image={image} />
        </UnstyledButton>
      ))}
    </div>
  );
}

function Thumbnail({ bitmap, sheet, image }: { bitmap: ImageBitmap; sheet: Sheet; image: number }) {
  const draw = useCallback(
    (canvas: HTMLCanvasElement | null) => {
      const context = canvas?.getContext("2d");
      if (!canvas || !context) return;
      const [x, y] = tileAt(sheet, image);
      const side = sheet.tile_pixels;
      context.drawImage(bitmap, x, y, side, side, 0, 0, canvas.width, canvas.height);
    },
    [bitmap, sheet, image],
  );
  return <canvas ref={draw} width={112} height={112} className={classes.thumbnail} aria-hidden />;
}

interface OverlayProps {
  title: string;
  bitmap: ImageBitmap;
  sheet: Sheet;
  image: number;
  grid: Grid;
  /** Of the attention over the image, 0 … 1. */
  strength: number;
}

function Overlay({ title, bitmap, sheet, image, grid, strength }: OverlayProps) {
  const draw = useCallback(
    (canvas: HTMLCanvasElement | null) => {
      const context = canvas?.getContext("2d");
      const heat = document.createElement("canvas");
      if (!canvas || !context) return;
      heat.width = grid[0]?.length ?? 1;
      heat.height = grid.length;
      heat.getContext("2d")?.putImageData(new ImageData(heatPixels(grid), heat.width), 0, 0);
      const [x, y] = tileAt(sheet, image);
      const side = sheet.tile_pixels;
      context.imageSmoothingQuality = "high";
      context.globalAlpha = 1;
      // The image fades to grey as the attention comes, so that colours mean attention alone.
      context.filter = `grayscale(${strength})`;
      context.drawImage(bitmap, x, y, side, side, 0, 0, canvas.width, canvas.height);
      context.filter = "none";
      context.globalAlpha = strength;
      context.drawImage(heat, 0, 0, canvas.width, canvas.height);
    },
    [bitmap, sheet, image, grid, strength],
  );
  return (
    <div>
      <Title order={4} size="sm" mb={4}>
        {title}
      </Title>
      <canvas
        ref={draw}
        width={448}
        height={448}
        className={classes.view}
        role="img"
        aria-label={`${title}: attention over image ${image + 1}, ${lookedAt(grid)}`}
      />
    </div>
  );
}

/** Where the most attention lies, in words. */
function lookedAt(grid: Grid): string {
  let [top, row, column] = [-1, 0, 0];
  grid.forEach((values, y) => {
    values.forEach((value, x) => {
      if (value > top) [top, row, column] = [value, y, x];
    });
  });
  const third = (place: number, count: number) => Math.min(2, Math.floor((3 * (place + 0.5)) / count));
  const vertical = ["top", "middle", "bottom"][third(row, grid.length)];
  const horizontal = ["left", "centre", "right"][third(column, grid[0]?.length ?? 1)];
  return `most of it at the ${vertical} ${horizontal}`;
}
