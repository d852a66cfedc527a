import { Text, Title, useComputedColorScheme } from "@mantine/core";
import { useElementSize, useMergedRef } from "@mantine/hooks";
import { type KeyboardEvent, type PointerEvent, useEffect, useRef } from "react";
import classes from "./LatentSpaces.module.css";
import { lookOf, nearest, type Place, traceMark } from "./maps";
import { type LatentSpaceData, tileAt } from "./pictureData";

interface Props {
  name: string;
  data: LatentSpaceData;
  /** In a square of 0 … 1. */
  places: readonly Place[];
  sheetUrl: string | null;
  shownImage: number | null;
  shownClass: number | null;
  onShow: (image: number | null) => void;
}

/** How near to a point the pointer has to be, as a share of the map. */
const REACH = 0.03;
const THUMBNAIL_PIXELS = 72;

/** One model's map. */
export function LatentMap({ name, data, places, sheetUrl, shownImage, shownClass, onShow }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { ref: measured, width } = useElementSize<HTMLCanvasElement>();
  const ref = useMergedRef(canvas, measured);
  const scheme = useComputedColorScheme("light");

  // biome-ignore lint/correctness/useExhaustiveDependencies: the colours are read from the page, and change with the scheme
  useEffect(() => {
    if (canvas.current !== null && width > 0) {
      draw(canvas.current, width, places, data.labels, shownImage, shownClass);
    }
  }, [width, places, data, shownImage, shownClass, scheme]);

  const isShown = (image: number) => shownClass === null || data.labels[image] === shownClass;
  const point = (event: PointerEvent<HTMLCanvasElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    const place: Place = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    onShow(nearest(places, place, REACH, isShown));
  };
  const step = (event: KeyboardEvent) => {
    if (event.key === "Escape") onShow(null);
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const chosen = data.labels.map((_, image) => image).filter(isShown);
    const now = shownImage === null ? -1 : chosen.indexOf(shownImage);
    onShow(chosen.at((now === -1 && by < 0 ? 0 : now + by) % chosen.length) ?? null);
  };
  const place = shownImage === null ? undefined : places[shownImage];
  return (
    <div className={classes.frame}>
      <Title order={4} size="sm" mb={4} tt="capitalize">
        {name}
      </Title>
      <div style={{ position: "relative" }}>
        <canvas
          ref={ref}
          className={classes.map}
          role="img"
          aria-label={`Map of ${data.labels.length} images of ${data.classes.length} classes by the ${name}`}
          tabIndex={0}
          onPointerMove={point}
          onPointerDown={point}
          onPointerLeave={() => onShow(null)}
          onKeyDown={step}
          data-shown={shownImage ?? undefined}
        />
        {shownImage !== null && place && (
          <Card image={shownImage} place={place} data={data} sheetUrl={sheetUrl} />
        )}
      </div>
    </div>
  );
}

interface CardProps {
  image: number;
  place: Place;
  data: LatentSpaceData;
  sheetUrl: string | null;
}

/** The image at a point, on the side where there is room. */
function Card({ image, place: [x, y], data, sheetUrl }: CardProps) {
  const scale = THUMBNAIL_PIXELS / data.sheet.tile_pixels;
  const [left, top] = tileAt(data.sheet, image);
  const label = data.labels[image] ?? 0;
  const away = "0.75rem";
  return (
    <div
      className={classes.card}
      style={{
        [x < 0.5 ? "left" : "right"]: `calc(${100 * (x < 0.5 ? x : 1 - x)}% + ${away})`,
        [y < 0.5 ? "top" : "bottom"]: `calc(${100 * (y < 0.5 ? y : 1 - y)}% + ${away})`,
      }}
    >
      {sheetUrl !== null && (
        <div
          className={classes.thumbnail}
          style={{
            width: THUMBNAIL_PIXELS,
            height: THUMBNAIL_PIXELS,
            backgroundImage: `url("${sheetUrl}")`,
            backgroundSize: `${scale * data.sheet.columns * data.sheet.tile_pixels}px`,
            backgroundPosition: `${-scale * left}px ${-scale * top}px`,
          }}
        />
      )}
      <Text size="sm" className="wrap">
        {data.classes[label]}
      </Text>
    </div>
  );
}

function draw(
  canvas: HTMLCanvasElement,
  width: number,
  places: readonly Place[],
  labels: readonly number[],
  shownImage: number | null,
  shownClass: number | null,
): void {
  const context = canvas.getContext("2d");
  if (context === null) return;
  const density = window.devicePixelRatio;
  const side = Math.round(width * density);
  canvas.width = canvas.height = side;
  const size = density * Math.min(4.5, Math.max(2, 60 / Math.sqrt(places.length)));
  const toPixels = ([x, y]: Place): Place => [x * side, y * side];
  places.forEach((place, image) => {
    const { colour, mark } = lookOf(labels[image] ?? 0);
    context.globalAlpha = shownClass === null || shownClass === labels[image] ? 0.85 : 0.12;
    context.fillStyle = colour;
    traceMark(context, mark, toPixels(place), size);
    context.fill();
  });
  const place = shownImage === null ? undefined : places[shownImage];
  if (place === undefined || shownImage === null) return;
  const { colour, mark } = lookOf(labels[shownImage] ?? 0);
  context.globalAlpha = 1;
  context.fillStyle = colour;
  context.strokeStyle = getComputedStyle(canvas).color;
  context.lineWidth = 2 * density;
  traceMark(context, mark, toPixels(place), 2 * size);
  context.fill();
  context.stroke();
}
