import { Image, Paper, ScrollArea, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { unzip } from "fflate";
import { useEffect, useState } from "react";
import { fetchFromApi } from "@/api/client";
import { ErrorNote } from "@/common/ErrorNote";

interface Shown {
  file: string;
  title: string;
  text: string;
}

/** The training's own picture is left out: the page has the curves. */
const SHOWN: readonly Shown[] = [
  {
    file: "tsne.png",
    title: "Latent spaces",
    text: "t-SNE of the features of the labelled test images, coloured by class: teacher beside student.",
  },
  {
    file: "attention.png",
    title: "Attention",
    text: "Attention rollout of teacher and student over some of the images.",
  },
];

async function fetchPictures(url: string, signal: AbortSignal): Promise<Record<string, Blob>> {
  const bytes = new Uint8Array(await (await fetchFromApi(url, { signal })).arrayBuffer());
  const files = await new Promise<Record<string, Uint8Array>>((resolve, reject) => {
    unzip(bytes, { filter: ({ name }) => name.endsWith(".png") }, (error, found) =>
      error ? reject(error) : resolve(found),
    );
  });
  return Object.fromEntries(
    Object.entries(files).map(([path, data]) => [
      path.split("/").at(-1) ?? path,
      new Blob([data as BlobPart], { type: "image/png" }),
    ]),
  );
}

/** The pictures that the job delivered. */
export default function Pictures({ url }: { url: string }) {
  const pictures = useQuery({
    queryKey: ["pictures", url],
    queryFn: ({ signal }) => fetchPictures(url, signal),
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (pictures.error) return <ErrorNote error={pictures.error} />;
  const found = SHOWN.filter(({ file }) => pictures.data?.[file]);
  if (pictures.data && found.length === 0) return <Text c="dimmed">This job delivered no pictures.</Text>;
  return (
    <SimpleGrid cols={{ base: 1, lg: 2 }}>
      {found.map((shown) => (
        <Paper key={shown.file} withBorder p="sm">
          <Stack gap="xs">
            <Title order={3} size="sm">
              {shown.title}
            </Title>
            <ScrollArea.Autosize
              mah="34rem"
              type="auto"
              viewportProps={{ tabIndex: 0, "aria-label": shown.title }}
            >
              <Picture blob={pictures.data?.[shown.file] as Blob} alt={shown.text} />
            </ScrollArea.Autosize>
            <Text size="sm" c="dimmed">
              {shown.text}
            </Text>
          </Stack>
        </Paper>
      ))}
    </SimpleGrid>
  );
}

function Picture({ blob, alt }: { blob: Blob; alt: string }) {
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    const made = URL.createObjectURL(blob);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [blob]);
  return <Image src={url} alt={alt} fit="contain" />;
}
