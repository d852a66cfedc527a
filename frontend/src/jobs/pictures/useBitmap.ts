import { useEffect, useState } from "react";

/** A picture that a canvas can draw; null before it is decoded. */
export function useBitmap(blob: Blob | undefined): ImageBitmap | null {
  const [bitmap, setBitmap] = useState<ImageBitmap | null>(null);
  useEffect(() => {
    if (blob === undefined) return;
    let made: ImageBitmap | null = null;
    let isWanted = true;
    void createImageBitmap(blob).then((decoded) => {
      made = decoded;
      if (isWanted) setBitmap(decoded);
      else decoded.close();
    });
    return () => {
      isWanted = false;
      setBitmap(null);
      made?.close();
    };
  }, [blob]);
  return bitmap;
}
