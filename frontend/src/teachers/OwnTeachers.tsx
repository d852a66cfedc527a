import { Button, Stack, Table, Text, Title } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api, type Teacher } from "@/api/client";
import { ConfirmButton } from "@/common/ConfirmButton";
import { Dialog } from "@/common/Dialog";
import { ErrorNote } from "@/common/ErrorNote";
import { formatBytes } from "@/common/format";
import { WideTable } from "@/common/WideTable";
import { TeacherUpload } from "./TeacherUpload";

interface Props {
  teachers: readonly Teacher[];
  /** Called with the teacher that was uploaded or chosen. */
  onChoose: (id: string) => void;
  /** Called with the teacher that is no more. */
  onDeleted: (id: string) => void;
}

/** The user's own teachers: upload one, choose one, delete one. */
export function OwnTeachers({ teachers, onChoose, onDeleted }: Props) {
  const [isOpen, { open, close }] = useDisclosure(false);
  const own = teachers.filter(({ kind }) => kind === "uploaded");
  const choose = (id: string) => {
    onChoose(id);
    close();
  };
  return (
    <>
      <Button variant="default" size="xs" w="fit-content" onClick={open}>
        {own.length === 0 ? "Upload a teacher of your own" : `Your own teachers (${own.length})`}
      </Button>
      <Dialog
        opened={isOpen}
        onClose={close}
        title="Teachers of your own"
        size="xl"
        closeOnClickOutside={false}
      >
        <Stack gap="lg">
          {own.length > 0 && <OwnTable teachers={own} onChoose={choose} onDeleted={onDeleted} />}
          <Stack gap="sm">
            <Title order={3} size="sm">
              Upload one
            </Title>
            <TeacherUpload teachers={teachers} onUploaded={choose} />
          </Stack>
        </Stack>
      </Dialog>
    </>
  );
}

function OwnTable({ teachers, onChoose, onDeleted }: Props) {
  return (
    <WideTable minWidth="34rem">
      <Table verticalSpacing="xs" aria-label="Your own teachers">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Name</Table.Th>
            <Table.Th>Architecture</Table.Th>
            <Table.Th ta="right">Size</Table.Th>
            <Table.Th>Use or delete</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {teachers.map((teacher) => (
            <Table.Tr key={teacher.id}>
              <Table.Td className="wrap">{teacher.name}</Table.Td>
              <Table.Td className="wrap">
                {teacher.architecture}
                <Text size="xs" c="dimmed">
                  {teacher.depth} blocks · {teacher.image_size} px
                </Text>
              </Table.Td>
              <Table.Td ta="right">{formatBytes(teacher.size_bytes)}</Table.Td>
              <Table.Td>
                <Stack gap={4} align="flex-start">
                  <Button size="xs" onClick={() => onChoose(teacher.id)}>
                    Use it
                  </Button>
                  <DeleteTeacher teacher={teacher} onDeleted={onDeleted} />
                </Stack>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </WideTable>
  );
}

function DeleteTeacher({ teacher, onDeleted }: { teacher: Teacher; onDeleted: Props["onDeleted"] }) {
  const queryClient = useQueryClient();
  const remove = useMutation({
    mutationFn: () => api.DELETE("/teachers/{teacher_id}", { params: { path: { teacher_id: teacher.id } } }),
    onSuccess: async () => {
      onDeleted(teacher.id);
      await queryClient.invalidateQueries({ queryKey: ["teachers"] });
    },
  });
  return (
    <>
      <ConfirmButton
        label="Delete the teacher"
        question={`Delete ${teacher.name}?`}
        isPending={remove.isPending}
        onConfirm={() => remove.mutate()}
        size="xs"
      >
        Its file is removed for good. Jobs that have ended keep their students, but cannot be tried again.
      </ConfirmButton>
      {remove.error && <ErrorNote error={remove.error} />}
    </>
  );
}
