import { Button } from "@mantine/core";
import { IconDownload } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { fetchFromApi } from "@/api/client";
import { readKey } from "@/api/key";
import { ErrorNote } from "./ErrorNote";
import { saveBlob } from "./saveBlob";

interface Props {
  /** A path of the API. */
  url: string;
  /** Of the file that is saved. */
  name: string;
  /** What the button says, where that is not the file's name. */
  label?: string;
}

/** Saves a file of the service. */
export function DownloadButton({ url, name, label = name }: Props) {
  const icon = <IconDownload size="1rem" aria-hidden />;
  if (readKey() === null) {
    return (
      <Button component="a" href={url} download={name} variant="default" size="xs" leftSection={icon}>
        {label}
      </Button>
    );
  }
  return <DownloadWithKey url={url} name={name} label={label} icon={icon} />;
}

/** A link cannot carry a key: the file is fetched with it and then saved. */
function DownloadWithKey({ url, name, label, icon }: Props & { icon: React.ReactNode }) {
  const save = useMutation({
    mutationFn: async () => saveBlob(await (await fetchFromApi(url)).blob(), name),
  });
  return (
    <>
      <Button
        variant="default"
        size="xs"
        leftSection={icon}
        loading={save.isPending}
        onClick={() => save.mutate()}
      >
        {label}
      </Button>
      {save.error && <ErrorNote error={save.error} />}
    </>
  );
}
