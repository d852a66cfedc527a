import { Alert, Button, CloseButton, Group, Paper, Progress, Stack, Text } from "@mantine/core";
import { formatBytes, formatCount, formatSeconds } from "@/common/format";
import { LinkAnchor } from "@/common/links";
import classes from "./UploadBar.module.css";
import {
  dismissUpload,
  isActive,
  pauseUpload,
  resumeUpload,
  type Upload,
  type UploadState,
  useUploads,
} from "./upload/uploads";

const WORDS: Record<UploadState, string> = {
  reading: "Looking through the files",
  sending: "Uploading",
  pausing: "Pausing",
  paused: "Paused",
  completing: "Handing over",
  done: "Uploaded",
  failed: "The upload stopped",
};

/** The uploads of this tab, at the foot of every page. */
export function UploadBar() {
  const uploads = useUploads();
  if (uploads.length === 0) return null;
  return (
    <section className={classes.bar} aria-label="Uploads">
      {uploads.map((upload) => (
        <UploadRow key={upload.id} upload={upload} />
      ))}
    </section>
  );
}

function UploadRow({ upload }: { upload: Upload }) {
  const share = upload.bytes > 0 ? (100 * upload.sent.bytes) / upload.bytes : 0;
  return (
    <Paper withBorder shadow="md" p="sm" className={classes.upload} data-upload={upload.state}>
      <Stack gap={6}>
        <Group justify="space-between" wrap="nowrap" gap="xs">
          <Text fw={600} className="cut" role="status">
            {WORDS[upload.state]}: {upload.name}
          </Text>
          <Group gap="xs" wrap="nowrap">
            <UploadButtons upload={upload} />
          </Group>
        </Group>
        {upload.state !== "reading" && (
          <Progress value={upload.state === "done" ? 100 : share} aria-label={`Upload of ${upload.name}`} />
        )}
        <Text size="sm" c="dimmed">
          {inNumbers(upload)}
        </Text>
        {upload.sent.trouble !== null && upload.state === "sending" && (
          <Text size="sm">{upload.sent.trouble} Trying again; what has arrived stays.</Text>
        )}
        {upload.error !== null && <Alert color="red">{upload.error}</Alert>}
        {upload.unreadable.length > 0 && (
          <Text size="sm">
            {formatCount(upload.unreadable.length)} files could not be read from the disk and were left out,
            the first of them {upload.unreadable[0]}.
          </Text>
        )}
      </Stack>
    </Paper>
  );
}

function UploadButtons({ upload }: { upload: Upload }) {
  const { id, state, datasetId, name } = upload;
  return (
    <>
      {datasetId !== null && (
        <LinkAnchor to="/datasets/$datasetId" params={{ datasetId }} size="sm">
          Dataset
        </LinkAnchor>
      )}
      {state === "sending" && (
        <Button size="xs" variant="default" onClick={() => pauseUpload(id)}>
          Pause
        </Button>
      )}
      {state === "paused" && (
        <Button size="xs" onClick={() => resumeUpload(id)}>
          Resume
        </Button>
      )}
      {state === "failed" && datasetId !== null && (
        <Button size="xs" onClick={() => resumeUpload(id)}>
          Try again
        </Button>
      )}
      {(!isActive(upload) || state === "paused") && (
        <CloseButton aria-label={`Close the upload of ${name}`} onClick={() => dismissUpload(id)} />
      )}
    </>
  );
}

function inNumbers({ state, files, bytes, sent, bytesPerSecond, secondsLeft }: Upload): string {
  if (state === "reading") return `${formatCount(files)} files found`;
  if (state === "done")
    return `${formatCount(files)} files, ${formatBytes(bytes)}; the service reads them now.`;
  const parts = [
    `${formatBytes(sent.bytes)} of ${formatBytes(bytes)}`,
    `${formatCount(sent.files)} of ${formatCount(files)} files`,
  ];
  if (bytesPerSecond) parts.push(`${formatBytes(bytesPerSecond)} a second`);
  if (secondsLeft !== null && state === "sending")
    parts.push(`about ${formatSeconds(Math.ceil(secondsLeft))} left`);
  return parts.join(" · ");
}
