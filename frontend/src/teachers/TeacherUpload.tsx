import {
  Alert,
  Autocomplete,
  Button,
  Group,
  Progress,
  SimpleGrid,
  Stack,
  Text,
  TextInput,
} from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import type { Teacher } from "@/api/client";
import { ApiError } from "@/api/errors";
import { teachersQuery } from "@/api/queries";
import { makeAttempt } from "@/common/attempt";
import { ErrorNote } from "@/common/ErrorNote";
import { formatBytes, formatShare } from "@/common/format";
import { sendTeacher } from "./sendTeacher";
import { NO_FIELDS, pickTeacherFiles, readTimmConfig, type TeacherFields, toForm } from "./teacherFiles";

interface Props {
  teachers: readonly Teacher[];
  onUploaded: (id: string) => void;
}

const AT_FIELDS = ["architecture", "name", "image_size", "mean", "std", "file"];

/** Uploads a checkpoint with timm's tensor names; what the service refuses is said at its field. */
export function TeacherUpload({ teachers, onUploaded }: Props) {
  const [weights, setWeights] = useState<File | null>(null);
  const [fields, setFields] = useState<TeacherFields>(NO_FIELDS);
  const [complaint, setComplaint] = useState<string | null>(null);
  const [share, setShare] = useState(0);
  const [attempt, setAttempt] = useState(makeAttempt);
  const stop = useRef(new AbortController());
  const queryClient = useQueryClient();
  const architectures = useMemo(
    () => [...new Set(teachers.map(({ architecture }) => architecture))].sort(),
    [teachers],
  );
  const send = useMutation({
    mutationFn: () => {
      if (weights === null) throw new RangeError("Choose a file first.");
      stop.current = new AbortController();
      const form = toForm(weights, fields);
      return sendTeacher({ form, attempt, signal: stop.current.signal, onProgress: setShare });
    },
    onMutate: () => setShare(0),
    onSuccess: (teacher) => {
      queryClient.setQueryData(teachersQuery.queryKey, (list) => list && { data: [teacher, ...list.data] });
      onUploaded(teacher.id);
    },
  });
  // Closed in the middle of it: nobody waits for the rest.
  useEffect(() => () => stop.current.abort(), []);
  const change = (changed: Partial<TeacherFields>) => {
    if (!send.isIdle) send.reset();
    setAttempt(makeAttempt());
    setFields((before) => ({ ...before, ...changed }));
  };
  const take = async (files: FileList | null) => {
    if (files === null || files.length === 0) return;
    try {
      const found = pickTeacherFiles([...files]);
      setWeights(found.weights);
      setComplaint(null);
      change(found.config === null ? {} : readTimmConfig(await found.config.text()));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      setComplaint(error.message);
    }
  };
  const error = send.error instanceof DOMException ? null : send.error;
  const errorAt = (field: string) => (error instanceof ApiError ? error.fieldMessage(field) : undefined);
  const isAtField = AT_FIELDS.some((field) => errorAt(field) !== undefined);
  const text = (name: keyof TeacherFields, field: string) => ({
    value: fields[name],
    error: errorAt(field),
    onChange: (event: React.ChangeEvent<HTMLInputElement>) => change({ [name]: event.currentTarget.value }),
  });
  return (
    <Stack gap="sm">
      <Text size="sm">
        A .safetensors file with timm’s tensor names. Choose it together with its config.json, or the folder
        that has both, and the fields fill themselves.
      </Text>
      <FileButtons onChoose={take} isDisabled={send.isPending} />
      {complaint !== null && <Alert color="red">{complaint}</Alert>}
      {weights !== null && (
        <Text size="sm" fw={600} className="wrap">
          {weights.name}, {formatBytes(weights.size)}
        </Text>
      )}
      {errorAt("file") !== undefined && <Alert color="red">{errorAt("file")}</Alert>}
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        <Autocomplete
          label="Architecture"
          description="Of timm."
          placeholder="vit_base_patch16_224"
          required
          data={architectures}
          limit={30}
          value={fields.architecture}
          onChange={(architecture) => change({ architecture })}
          error={errorAt("architecture")}
        />
        <TextInput label="Name (optional)" description="For your list." {...text("name", "name")} />
        <TextInput
          label="Image size (optional)"
          description="In pixels; read from the file where it is empty."
          {...text("imageSize", "image_size")}
        />
        <div />
        <TextInput
          label="Mean (optional)"
          description="Of R, G and B; timm’s default where it is empty."
          placeholder="0.5, 0.5, 0.5"
          {...text("mean", "mean")}
        />
        <TextInput
          label="Standard deviation (optional)"
          description="Of R, G and B, likewise."
          placeholder="0.5, 0.5, 0.5"
          {...text("std", "std")}
        />
      </SimpleGrid>
      {error && !isAtField && <ErrorNote error={error} title="The teacher was not taken" />}
      {send.isPending && (
        <Stack gap={4} role="status">
          <Progress value={100 * share} aria-label="Upload of the teacher" />
          <Text size="sm">
            {share < 1 ? `${formatShare(share)} sent` : "Sent; the service compares it with the architecture"}
          </Text>
        </Stack>
      )}
      <Group justify="flex-end">
        {send.isPending && (
          <Button variant="default" onClick={() => stop.current.abort()}>
            Stop
          </Button>
        )}
        <Button
          onClick={() => send.mutate()}
          loading={send.isPending}
          disabled={weights === null || fields.architecture.trim() === ""}
        >
          Upload the teacher
        </Button>
      </Group>
    </Stack>
  );
}

function FileButtons({
  onChoose,
  isDisabled,
}: {
  onChoose: (files: FileList | null) => void;
  isDisabled: boolean;
}) {
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  return (
    <Group gap="xs">
      <input
        ref={files}
        type="file"
        hidden
        multiple
        data-choose="teacher"
        onChange={(event) => onChoose(event.currentTarget.files)}
      />
      <input
        ref={folder}
        type="file"
        hidden
        webkitdirectory=""
        data-choose="teacher-folder"
        onChange={(event) => onChoose(event.currentTarget.files)}
      />
      <Button variant="default" size="xs" disabled={isDisabled} onClick={() => files.current?.click()}>
        Choose the file or files
      </Button>
      <Button variant="default" size="xs" disabled={isDisabled} onClick={() => folder.current?.click()}>
        Choose a timm folder
      </Button>
    </Group>
  );
}
