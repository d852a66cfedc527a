import { Paper, Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import type { Artifact } from "@/api/client";
import { AttentionMaps } from "./AttentionMaps";
import { LatentSpaces } from "./LatentSpaces";

/** The pictures of a finished job, drawn from the data that it delivered. */
export default function Pictures({ files }: { files: readonly Artifact[] }) {
  const find = (name: string) => files.find((file) => file.name === name);
  const [tsne, points] = [find("tsne.json"), find("tsne.jpg")];
  const [attention, views] = [find("attention.json"), find("attention.jpg")];
  return (
    <Stack gap="md">
      {tsne && points && (
        <Picture title="Latent spaces">
          <LatentSpaces file={tsne} sheet={points} />
        </Picture>
      )}
      {attention && views && (
        <Picture title="Attention">
          <AttentionMaps file={attention} sheet={views} />
        </Picture>
      )}
      {!tsne && !attention && (
        <Text c="dimmed">There are no pictures to show here; the log says why. See also report.html.</Text>
      )}
    </Stack>
  );
}

function Picture({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Paper withBorder p="md">
      <Title order={3} size="md" mb="sm">
        {title}
      </Title>
      {children}
    </Paper>
  );
}
