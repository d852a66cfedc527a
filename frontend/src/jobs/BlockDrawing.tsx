import { Box, Stack, Text } from "@mantine/core";
import classes from "./BlockDrawing.module.css";

interface Props {
  depth: number;
  kept: readonly number[];
  /** False while the images may still move them. */
  isFinal?: boolean;
  /** Rank of the adapters, to be drawn on the copied blocks. */
  loraRank?: number;
}

/** The teacher's blocks in a row, the copied ones lit. */
export function BlockDrawing({ depth, kept, isFinal = true, loraRank }: Props) {
  const isKept = new Set(kept);
  const sentence = `${isKept.size} of the teacher’s ${depth} blocks are copied: ${kept.join(", ")}.`;
  return (
    <Stack gap="xs">
      <Box role="img" aria-label={sentence} className={classes.row}>
        {Array.from({ length: depth }, (_, block) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a block is its number
          <div key={block} className={classes.block} data-kept={isKept.has(block)}>
            <span>{block}</span>
            {loraRank !== undefined && isKept.has(block) && <span className={classes.lora}>+A·B</span>}
          </div>
        ))}
      </Box>
      <Text size="sm" c="dimmed">
        {sentence}
        {!isFinal && " The choice begins with these; the images may move them."}
        {loraRank !== undefined && ` Each gets adapters A·B of rank ${loraRank}, merged at the end.`}
      </Text>
    </Stack>
  );
}
