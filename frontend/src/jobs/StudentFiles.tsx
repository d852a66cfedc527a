import { Code, Group, Stack, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense } from "react";
import type { Artifact, Job } from "@/api/client";
import { artifactsQuery } from "@/api/queries";
import { CopyIcon } from "@/common/CopyIcon";
import { DownloadButton } from "@/common/DownloadButton";
import { ErrorNote } from "@/common/ErrorNote";
import { formatBytes } from "@/common/format";
import { Loading } from "@/common/Loading";
import { Section } from "@/common/Section";

const Pictures = lazy(() => import("./pictures/Pictures"));

/** What this page draws; the same files are in pictures.zip. */
const DRAWN: ReadonlySet<string> = new Set(["tsne.json", "tsne.jpg", "attention.json", "attention.jpg"]);

const MEANING: Record<string, string> = {
  "student.zip": "the student: unzip it and run the line above",
  "student.onnx": "the student for runtimes without torch; images go in normalised",
  "student.safetensors": "its merged weights",
  "config.json": "its architecture, for timm",
  "adapter.safetensors": "the adapters, not merged",
  "metrics.jsonl": "each training step",
  "report.json": "the whole account of the run",
  "report.html": "one page that shows the run; open it in a browser",
  "pictures.zip": "its pictures, as PNG and JSON",
};

/** The files of a job that succeeded, and the line that loads the student. */
export function StudentFiles({ job }: { job: Job }) {
  const artifacts = useQuery(artifactsQuery(job.id));
  return (
    <>
      <Section title="Download">
        {job.load !== null && <LoadLine line={`import ${job.load.split(".")[0]}; student = ${job.load}`} />}
        {artifacts.error && <ErrorNote error={artifacts.error} />}
        {artifacts.data && (
          <Table maw="60rem" aria-label="Files of the job" verticalSpacing="xs">
            <Table.Tbody>
              {inOrder(artifacts.data.data.filter(({ name }) => !DRAWN.has(name))).map((artifact) => (
                <Table.Tr key={artifact.name}>
                  <Table.Td>
                    <DownloadButton url={artifact.links.self ?? ""} name={artifact.name} />
                  </Table.Td>
                  <Table.Td ta="right">{formatBytes(artifact.size_bytes)}</Table.Td>
                  <Table.Td visibleFrom="sm">{MEANING[artifact.name]}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        )}
      </Section>
      {artifacts.data && (
        <Section title="Pictures">
          <Suspense fallback={<Loading what="the pictures" />}>
            <Pictures files={artifacts.data.data} />
          </Suspense>
        </Section>
      )}
    </>
  );
}

/** The student first; files that a newer service delivers come last. */
function inOrder(artifacts: readonly Artifact[]): Artifact[] {
  const order = Object.keys(MEANING);
  const place = ({ name }: Artifact) => (order.includes(name) ? order.indexOf(name) : order.length);
  return [...artifacts].sort((a, b) => place(a) - place(b));
}

function LoadLine({ line }: { line: string }) {
  return (
    <Stack gap={4}>
      <Text size="sm" id="load-line">
        Unzip student.zip, then in Python:
      </Text>
      <Group gap="xs" wrap="nowrap" maw="60rem">
        <Code block flex={1} miw={0} aria-labelledby="load-line" tabIndex={0}>
          {line}
        </Code>
        <CopyIcon value={line} label="Copy the line of Python" />
      </Group>
    </Stack>
  );
}
