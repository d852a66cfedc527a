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
import { ToneBadge } from "./ToneBadge";

type State = JobState | DatasetState;

const LOOKS: Record<State, readonly [tone: string, icon: Icon, isMoving: boolean]> = {
  queued: ["idle", IconClock, false],
  running: ["accent", IconPlayerPlay, true],
  succeeded: ["good", IconCheck, false],
  failed: ["bad", IconAlertTriangle, false],
  cancelled: ["idle", IconBan, false],
  uploading: ["idle", IconUpload, false],
  ingesting: ["accent", IconPlayerPlay, true],
  ready: ["good", IconCheck, false],
};

/** A state in words, with a colour and a sign of its own. */
export function StateBadge({ state }: { state: State }) {
  const [tone, Sign, isMoving] = LOOKS[state];
  return (
    <ToneBadge
      tone={tone}
      data-state={state}
      leftSection={<Sign size="0.8rem" className={isMoving ? "pulse" : ""} aria-hidden />}
    >
      {state}
    </ToneBadge>
  );
}
