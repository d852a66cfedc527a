import { Badge } from "@mantine/core";
import {
  type Icon,
  IconAlertTriangle,
  IconBan,
  IconCheck,
  IconClock,
  IconPlayerPlay,
  IconUpload,
} from "@tabler/icons-react";
import type { DatasetState, JobState } from "@/api/client";

type State = JobState | DatasetState;

const LOOKS: Record<State, readonly [colour: string, icon: Icon, isMoving: boolean]> = {
  queued: ["gray", IconClock, false],
  running: ["accent", IconPlayerPlay, true],
  succeeded: ["teal", IconCheck, false],
  failed: ["red", IconAlertTriangle, false],
  cancelled: ["gray", IconBan, false],
  uploading: ["gray", IconUpload, false],
  ingesting: ["accent", IconPlayerPlay, true],
  ready: ["teal", IconCheck, false],
};

/** A state in words, with a colour and a sign of its own. */
export function StateBadge({ state }: { state: State }) {
  const [colour, Sign, isMoving] = LOOKS[state];
  return (
    <Badge
      variant="outline"
      color={colour}
      tt="none"
      radius="sm"
      className="state"
      data-state={state}
      leftSection={<Sign size="0.8rem" className={isMoving ? "pulse" : ""} aria-hidden />}
    >
      {state}
    </Badge>
  );
}
