import { Alert, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import type { Job } from "@/api/client";

/** Why the job failed, and whether that is the user's to mend. */
export function Failure({ error }: { error: NonNullable<Job["error"]> }) {
  return (
    <Alert color="red" icon={<IconAlertTriangle />} title={`The job failed: ${error.code}`}>
      <Text className="wrap" style={{ whiteSpace: "pre-wrap" }}>
        {error.message}
      </Text>
      <Text size="sm" mt="xs">
        {error.param ? (
          <>
            The option at fault is <b>{error.param}</b>. Change it with “New job like this”.
          </>
        ) : error.retryable ? (
          "This was the service’s fault, not yours: try it again."
        ) : (
          "The same job would end the same way again."
        )}
      </Text>
    </Alert>
  );
}
