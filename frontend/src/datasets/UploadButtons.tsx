import { Button, Group } from "@mantine/core";
import { useRef } from "react";
import { collectChosen } from "./upload/collect";
import { useUploader } from "./useUploader";

/** Choosing instead of dropping: with the keyboard, and on a phone. */
export function UploadButtons() {
  const folder = useRef<HTMLInputElement>(null);
  const files = useRef<HTMLInputElement>(null);
  const upload = useUploader();
  const take = (input: HTMLInputElement) => {
    const chosen = input.files && collectChosen(input.files);
    if (chosen) upload(chosen);
  };
  return (
    <Group gap="xs">
      <input
        ref={folder}
        type="file"
        hidden
        webkitdirectory=""
        data-choose="folder"
        onChange={(event) => take(event.currentTarget)}
      />
      <input
        ref={files}
        type="file"
        hidden
        multiple
        data-choose="files"
        onChange={(event) => take(event.currentTarget)}
      />
      <Button variant="default" onClick={() => folder.current?.click()}>
        Choose a folder
      </Button>
      <Button variant="default" onClick={() => files.current?.click()}>
        Choose files or archives
      </Button>
    </Group>
  );
}
