import { Button, Group, Select, Stack, Switch, Text, TextInput } from "@mantine/core";
import { IconDownload } from "@tabler/icons-react";
import { memo, useEffect, useMemo, useRef, useState } from "react";
import type { JobEvent } from "@/api/client";
import { formatCount, formatMoment } from "@/common/format";
import { saveBlob } from "@/common/saveBlob";
import classes from "./LogView.module.css";
import { filterLog, LEVELS, type Level, toText } from "./log";

/** More lines are in the file; a page of them would only be slow. */
const MOST_SHOWN = 1000;

/** What the service said of a job, line by line: to be searched, followed and saved. */
export function LogView({ jobId, events }: { jobId: string; events: readonly JobEvent[] }) {
  const [level, setLevel] = useState<Level>("all");
  const [search, setSearch] = useState("");
  const [isFollowed, setFollowed] = useState(true);
  const box = useRef<HTMLDivElement>(null);
  const lines = useMemo(() => filterLog(events, level, search), [events, level, search]);
  const shown = lines.slice(-MOST_SHOWN);

  // biome-ignore lint/correctness/useExhaustiveDependencies: whenever there are other lines
  useEffect(() => {
    if (isFollowed && box.current !== null) box.current.scrollTop = box.current.scrollHeight;
  }, [lines, isFollowed]);

  return (
    <Stack gap="xs">
      <Group gap="sm">
        <Select
          aria-label="Level"
          data={LEVELS}
          value={level}
          allowDeselect={false}
          onChange={(value) => setLevel(LEVELS.find((each) => each === value) ?? "all")}
          w="8rem"
        />
        <TextInput
          aria-label="Search the log"
          placeholder="Search the log"
          value={search}
          onChange={(event) => setSearch(event.currentTarget.value)}
          w="14rem"
        />
        <Switch
          label="Follow"
          checked={isFollowed}
          onChange={(event) => setFollowed(event.currentTarget.checked)}
        />
        <Button
          variant="default"
          leftSection={<IconDownload size="1rem" aria-hidden />}
          disabled={lines.length === 0}
          onClick={() => saveBlob(new Blob([toText(lines)], { type: "text/plain" }), `${jobId}.log.txt`)}
        >
          Save as text
        </Button>
        <Text size="sm" c="dimmed" role="status">
          {shown.length < lines.length
            ? `The last ${formatCount(shown.length)} of ${formatCount(lines.length)} lines`
            : `${formatCount(lines.length)} lines`}
        </Text>
      </Group>
      <div
        ref={box}
        className={classes.log}
        role="log"
        aria-label="Log"
        aria-live="off"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, also with the keyboard
        tabIndex={0}
      >
        {shown.length === 0 && <span className={classes.faint}>No line fits.</span>}
        {shown.map((event) => (
          <Line key={event.seq} event={event} />
        ))}
      </div>
    </Stack>
  );
}

const Line = memo(function Line({ event }: { event: JobEvent }) {
  return (
    <div className={classes.line} data-level={event.level}>
      <span className={classes.faint}>{formatMoment(event.created_at)}</span>
      <span className={classes.level}>{event.level}</span>
      <span className="wrap">{event.message}</span>
    </div>
  );
});
