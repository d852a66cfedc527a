import {
  Button,
  Checkbox,
  Group,
  Paper,
  SegmentedControl,
  SimpleGrid,
  Stack,
  Text,
  TextInput,
  Title,
} from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { fetchFromApi, type Job, type Teacher } from "@/api/client";
import { ApiError } from "@/api/errors";
import { jobQuery } from "@/api/queries";
import { makeAttempt } from "@/common/attempt";
import { ErrorNote } from "@/common/ErrorNote";
import { OwnTeachers } from "@/teachers/OwnTeachers";
import { AdvancedOptions } from "./AdvancedOptions";
import { DatasetSelect } from "./DatasetSelect";
import { type Draft, RECIPES, type Recipe, toBody, USUAL_RANK } from "./draft";
import { NumberSlider } from "./NumberSlider";
import { optionFieldsQuery } from "./optionFieldsQuery";
import { PlannedStudent } from "./PlannedStudent";
import { TeacherFacts, TeacherSelect } from "./TeacherSelect";
import { usePlan } from "./usePlan";

const RECIPE_WORDS: Record<Recipe, string> = {
  best: "The best we know: blocks are refitted by a closed form, then trained.",
  paper: "The paper’s own settings, exactly.",
  instant: "The closed form only: no training, done in seconds to minutes.",
};

interface Props {
  teachers: Teacher[];
  initial: Draft;
}

/** Everything that a job is made of. What the service refuses is said at its field. */
export function JobForm({ teachers, initial }: Props) {
  const [draft, setDraft] = useState(initial);
  // A start whose answer was lost makes no second job when it is asked for again; that of a changed form does.
  const [attempt, setAttempt] = useState(makeAttempt);
  const fields = useQuery(optionFieldsQuery);
  const navigate = useNavigate();
  const queryClient = useQueryClient();
  const start = useMutation({
    mutationFn: async (): Promise<Job> => {
      const body = JSON.stringify(toBody(draft, fields.data ?? []));
      const headers = { "Content-Type": "application/json", "Idempotency-Key": attempt };
      return (await fetchFromApi("/jobs", { method: "POST", headers, body })).json();
    },
    onSuccess: (job) => {
      queryClient.setQueryData(jobQuery(job.id).queryKey, job);
      void navigate({ to: "/jobs/$jobId", params: { jobId: job.id } });
    },
  });
  const change = (changed: Partial<Draft>) => {
    // What the service said of the values before is no answer to these.
    if (!start.isIdle) start.reset();
    setAttempt(makeAttempt());
    setDraft((before) => ({ ...before, ...changed }));
  };
  const plan = usePlan(draft, fields.data);
  const refusal = [plan.error, start.error].find((error) => error instanceof ApiError);
  const errorAt = (field: string) => refusal?.fieldMessage(field);
  const teacher = teachers.find(
    ({ id, aliases }) => id === draft.teacher || aliases?.includes(draft.teacher ?? ""),
  );
  const isComplete = draft.teacher !== null && draft.datasetId !== null;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        start.mutate();
      }}
    >
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="lg">
        <Stack gap="md">
          <DatasetSelect
            label="Images"
            description="Unlabelled images; a few hundred are enough. Drop a folder anywhere to upload more."
            value={draft.datasetId}
            onChange={(datasetId) => change({ datasetId })}
            error={errorAt("dataset_id")}
            required
          />
          <TeacherSelect
            teachers={teachers}
            value={teacher?.id ?? draft.teacher}
            onChange={(id) => change({ teacher: id })}
            error={errorAt("teacher")}
          />
          <OwnTeachers
            teachers={teachers}
            onChoose={(id) => change({ teacher: id })}
            onDeleted={(id) => id === draft.teacher && change({ teacher: null })}
          />
          <RecipeChoice
            recipe={draft.recipe}
            onChange={(recipe) => change({ recipe })}
            error={errorAt("recipe")}
          />
          <DatasetSelect
            label="Probe (optional)"
            description="Labelled images in class folders: teacher and student are compared on them."
            value={draft.probeId}
            onChange={(probeId) => change({ probeId })}
            error={errorAt("probe.dataset_id") ?? errorAt("probe")}
            needsClasses
          />
          <TextInput
            label="Name (optional)"
            value={draft.name}
            onChange={(event) => change({ name: event.currentTarget.value })}
            error={errorAt("name")}
          />
          <Checkbox
            label="Deliver ONNX, too"
            description="For runtimes without torch. The student for timm is always there."
            checked={draft.options.onnx === "true"}
            onChange={(event) =>
              change({ options: { ...draft.options, onnx: event.currentTarget.checked ? "true" : "" } })
            }
            error={errorAt("onnx")}
          />
        </Stack>
        <Stack gap="md">
          <Paper withBorder p="md">
            <Stack gap="md">
              <Title order={2}>The student</Title>
              {teacher ? <TeacherFacts teacher={teacher} /> : <Text c="dimmed">Choose a teacher first.</Text>}
              <NumberSlider
                label="r, compression factor"
                description="One block of r is copied: 2 gives half the depth."
                least={1}
                most={Math.max(2, teacher?.depth ?? 12)}
                value={draft.r}
                onChange={(r) => change({ r })}
                error={errorAt("r")}
              />
              <NumberSlider
                label="k, rank of the adapters"
                description="More rank trains more numbers; the student is merged and stays the same size."
                least={1}
                most={teacher?.max_lora_rank ?? 1024}
                value={draft.k ?? Math.min(USUAL_RANK, teacher?.max_lora_rank ?? USUAL_RANK)}
                onChange={(k) => change({ k })}
                error={errorAt("k")}
              />
              {plan.error && <ErrorNote error={plan.error} title="This job would be refused" />}
              {plan.data && !plan.error && <PlannedStudent plan={plan.data} isUpToDate={plan.isUpToDate} />}
            </Stack>
          </Paper>
        </Stack>
      </SimpleGrid>
      <Stack mt="lg" gap="md">
        <AdvancedOptions
          fields={(fields.data ?? []).filter(({ name }) => name !== "onnx")}
          values={draft.options}
          errorAt={errorAt}
          onChange={(name, value) => change({ options: { ...draft.options, [name]: value } })}
        />
        {fields.error && <ErrorNote error={fields.error} />}
        {start.error && !plan.error && <ErrorNote error={start.error} title="The job was not started" />}
        <Group>
          <Button type="submit" loading={start.isPending} disabled={!isComplete || fields.data === undefined}>
            Start the job
          </Button>
          {!isComplete && (
            <Text size="sm" c="dimmed">
              It needs images and a teacher.
            </Text>
          )}
        </Group>
      </Stack>
    </form>
  );
}

interface RecipeProps {
  recipe: Recipe | null;
  onChange: (recipe: Recipe) => void;
  error: string | undefined;
}

function RecipeChoice({ recipe, onChange, error }: RecipeProps) {
  const shown = recipe ?? "best";
  return (
    <Stack gap={4}>
      <Text size="sm" fw={600} id="recipe">
        Recipe
      </Text>
      <SegmentedControl
        aria-labelledby="recipe"
        data={[...RECIPES]}
        value={shown}
        onChange={(value) => onChange(value as Recipe)}
        w="fit-content"
      />
      <Text size="sm" c="dimmed">
        {RECIPE_WORDS[shown]}
      </Text>
      {error && (
        <Text size="sm" c="error" role="alert">
          {error}
        </Text>
      )}
    </Stack>
  );
}
