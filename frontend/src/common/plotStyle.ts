/** Lengths of a chart, which is drawn in pixels, from the page's own measure: it grows with very wide screens. */
export function plotStyle(element: Element) {
  const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  const style = getComputedStyle(element);
  return {
    rem,
    font: `${0.75 * rem}px ${style.fontFamily}`,
    colour: (name: string) => style.getPropertyValue(name).trim(),
  };
}
