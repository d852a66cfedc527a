import { Button, Group, Paper, SimpleGrid, Slider, Stack, Switch, Text, Title } from "@mantine/core";
import { useMemo, useState } from "react";
import { Chart, type Line } from "./Chart";
import { CurveTable } from "./CurveTable";
import { type Curves, describe, smooth } from "./curves";

const DEFAULT_SMOOTHING = 0.6;

/** Loss and learning rate of the training, as far as it is. */
export function TrainingCurves({ curves }: { curves: Curves }) {
  const [isLog, setLog] = useState(true);
  const [smoothing, setSmoothing] = useState(DEFAULT_SMOOTHING);
  const [resets, setResets] = useState(0);
  // The columns grow in place, and the object around them is a new one each time.
  const x = useMemo(() => curves.step.slice(), [curves]);
  const loss = useMemo<Line[]>(() => {
    const raw = curves.loss.slice();
    if (smoothing === 0) return [{ label: "Loss", values: raw }];
    return [
      { label: "Loss of the step", values: raw, isFaint: true },
      { label: "Smoothed", values: smooth(raw, smoothing) },
    ];
  }, [curves, smoothing]);
  const rate = useMemo<Line[]>(() => [{ label: "Learning rate", values: curves.lr.slice() }], [curves]);
  if (x.length === 0) return <Text c="dimmed">The curves begin with the first step of the training.</Text>;
  return (
    <Stack gap="sm">
      <Group gap="lg" align="center">
        <Switch
          label="Logarithmic loss"
          checked={isLog}
          onChange={(event) => setLog(event.currentTarget.checked)}
        />
        <Group gap="xs" align="center">
          <Text size="sm">Smoothing</Text>
          <Slider
            w="9rem"
            min={0}
            max={0.98}
            step={0.02}
            value={smoothing}
            onChange={setSmoothing}
            label={(value) => value.toFixed(2)}
            thumbLabel="Smoothing"
          />
        </Group>
        <Button variant="default" size="xs" onClick={() => setResets(resets + 1)}>
          Show all steps
        </Button>
        <Text size="sm" c="dimmed" visibleFrom="sm">
          Drag over a chart to zoom in, or press + and − in it, the arrow keys, and 0.
        </Text>
      </Group>
      <SimpleGrid cols={{ base: 1, md: 2 }}>
        <Figure title="Loss (distance of tokens)">
          <Chart
            x={x}
            lines={loss}
            isLog={isLog}
            resets={resets}
            description={describe("Loss", curves, curves.loss)}
          />
        </Figure>
        <Figure title="Learning rate">
          <Chart
            x={x}
            lines={rate}
            isLog={false}
            resets={resets}
            description={describe("Learning rate", curves, curves.lr)}
          />
        </Figure>
      </SimpleGrid>
      <CurveTable curves={curves} />
    </Stack>
  );
}

function Figure({ title, children }: { title: string; children: React.ReactNode }) {
  return (
    <Paper withBorder p="sm" miw={0}>
      <Title order={3} size="sm" mb="xs">
        {title}
      </Title>
      {children}
    </Paper>
  );
}
