import { useEffect, useState } from "react";
import { collectDropped } from "./upload/collect";
import { useUploader } from "./useUploader";

/** Takes files, folders and archives that are dropped anywhere on the page. */
export function DropTarget() {
  const [isOver, setOver] = useState(false);
  const upload = useUploader();

  useEffect(() => {
    // Entering an element inside the page leaves the one around it: the page is left when all are.
    let depth = 0;
    const holdsFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const on = {
      dragenter: (event: DragEvent) => {
        if (!holdsFiles(event)) return;
        event.preventDefault();
        depth += 1;
        setOver(true);
      },
      dragover: (event: DragEvent) => {
        if (holdsFiles(event)) event.preventDefault();
      },
      dragleave: (event: DragEvent) => {
        if (!holdsFiles(event)) return;
        depth = Math.max(0, depth - 1);
        if (depth === 0) setOver(false);
      },
      drop: (event: DragEvent) => {
        if (!holdsFiles(event) || event.dataTransfer === null) return;
        event.preventDefault();
        depth = 0;
        setOver(false);
        const dropped = collectDropped(event.dataTransfer);
        if (dropped !== null) upload(dropped);
      },
    };
    for (const [type, listener] of Object.entries(on))
      document.addEventListener(type, listener as EventListener);
    return () => {
      for (const [type, listener] of Object.entries(on)) {
        document.removeEventListener(type, listener as EventListener);
      }
    };
  }, [upload]);

  return isOver ? <div className="drop-veil">Drop images, a folder of images, or archives</div> : null;
}
