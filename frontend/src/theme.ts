import { type CSSVariablesResolver, createTheme, type MantineColorsTuple } from "@mantine/core";

/** The one accent: shade 7 under white letters and on white, shade 4 as letters and lines on the dark page. */
const accent: MantineColorsTuple = [
  "#edf2ff",
  "#dbe4ff",
  "#bac8ff",
  "#91a7ff",
  "#8099ff",
  "#5c7cfa",
  "#4c6ef5",
  "#3b5bdb",
  "#364fc7",
  "#2b3f9e",
];

export const theme = createTheme({
  colors: { accent },
  primaryColor: "accent",
  primaryShade: 7,
  defaultRadius: "sm",
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "Cascadia Code", "DejaVu Sans Mono", monospace',
  headings: { fontWeight: "650", sizes: { h1: { fontSize: "1.5rem" }, h2: { fontSize: "1.125rem" } } },
  cursorType: "pointer",
  respectReducedMotion: true,
});

/** Letters and lines with 4.5:1 on either page, as WCAG asks: Mantine's own dimmed text and outlines have less. */
export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-dimmed": "#5c636a",
    "--mantine-color-placeholder": "#6b7278",
    "--mantine-color-error": "#c92a2a",
    "--tone-accent": "#3b5bdb",
    "--tone-good": "#087f5b",
    "--tone-bad": "#c92a2a",
    "--tone-warning": "#9a4a00",
    "--mantine-color-yellow-light-color": "#9a4a00",
    "--tone-idle": "#5c636a",
  },
  dark: {
    "--mantine-color-dimmed": "#a6abb0",
    "--mantine-color-placeholder": "#a0a5aa",
    "--mantine-color-error": "#ff8787",
    "--tone-accent": "#91a7ff",
    "--tone-good": "#38d9a9",
    "--tone-bad": "#ff8787",
    "--tone-warning": "#ffc078",
    "--mantine-color-yellow-light-color": "#ffc078",
    "--tone-idle": "#a6abb0",
  },
});
