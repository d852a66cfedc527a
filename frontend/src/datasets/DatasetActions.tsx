import { Group, Stack } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { api, type Dataset } from "@/api/client";
import { ConfirmButton } from "@/common/ConfirmButton";
import { ErrorNote } from "@/common/ErrorNote";
import { LinkButton } from "@/common/links";

/** What can be done with a dataset, in the state it is in. */
export function DatasetActions({ dataset }: { dataset: Dataset }) {
  const queryClient = useQueryClient();
  const navigate = useNavigate();
  const remove = useMutation({
    mutationFn: () => api.DELETE("/datasets/{dataset_id}", { params: { path: { dataset_id: dataset.id } } }),
    onSuccess: async () => {
      await navigate({ to: "/datasets" });
      queryClient.removeQueries({ queryKey: ["datasets", dataset.id] });
      await queryClient.invalidateQueries({ queryKey: ["datasets"] });
    },
  });
  return (
    <Stack gap="xs">
      <Group gap="xs">
        {(dataset.state === "ready" || dataset.state === "ingesting") && (
          <LinkButton to="/jobs/new" search={{ dataset: dataset.id }}>
            New job on these images
          </LinkButton>
        )}
        {dataset.state !== "ingesting" && (
          <ConfirmButton
            label="Delete the dataset"
            question="Delete this dataset?"
            isPending={remove.isPending}
            onConfirm={() => remove.mutate()}
          >
            All its images are removed for good. Jobs that have ended keep their files, but cannot be tried
            again.
          </ConfirmButton>
        )}
      </Group>
      {remove.error && <ErrorNote error={remove.error} />}
    </Stack>
  );
}
