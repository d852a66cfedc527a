"""How all pictures look: two themes, colours that colour-blind people can tell apart, PNG.

Figures are built without pyplot and without changing matplotlib's defaults.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Twice the density of an ordinary screen, so that a picture stays sharp when it is shown at its size in CSS pixels.
DOTS_PER_INCH = 192

# Petroff's ten colours, chosen for colour-vision deficiencies (Accessible color sequences for data visualization,
# 2021); with more than ten classes the shapes of the marks change as well.
CLASS_COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
CLASS_MARKS = ("o", "^", "s", "D", "v")


@dataclass(frozen=True)
class Theme:
    """Colours of a picture's parts.

    Attributes:
        name: ``light`` or ``dark``.
        paper: behind everything.
        ink: text.
        faint: ticks, frames, secondary text.
        grid: lines behind the data.
        lines: of data, in order of use; Okabe and Ito's, which colour-blind people can tell apart.
    """

    name: str
    paper: str
    ink: str
    faint: str
    grid: str
    lines: tuple[str, ...]


LIGHT = Theme(
    "light", "#ffffff", "#1b1f24", "#57606a", "#d8dee4",
    ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a5c00", "#56b4e9"),
)  # fmt: skip
DARK = Theme(
    "dark", "#161b22", "#e6edf3", "#9aa4af", "#30363d",
    ("#56b4e9", "#f5973d", "#2bc79a", "#e29ac4", "#f0e442", "#3f8fd0"),
)  # fmt: skip
THEMES = (LIGHT, DARK)

# Draws one picture in a theme.
Drawing = Callable[[Theme], Figure]


def new_figure(width: float, height: float, theme: Theme) -> Figure:
    """An empty figure of so many inches, its parts laid out so that nothing overlaps."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=theme.paper)
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, theme: Theme, *, grid: bool = True) -> None:
    """Give axes the theme's colours, a grid behind the data and a frame on two sides only."""
    axes.set_facecolor(theme.paper)
    axes.tick_params(colors=theme.faint, which="both", labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_color(theme.faint)
        spine.set_visible(side in ("left", "bottom"))
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(theme.ink)
        label.set_fontsize(10)
    axes.title.set_color(theme.ink)
    axes.xaxis.get_offset_text().set_color(theme.faint)
    axes.yaxis.get_offset_text().set_color(theme.faint)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(visible=True, color=theme.grid, linewidth=0.6)


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Names in scripts that the built-in font lacks show as boxes; the page writes them out in the reader's fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        options = {"compress_level": 3}  # much quicker than the usual 6, and not much larger
        figure.savefig(
            buffer, format="png", dpi=DOTS_PER_INCH, facecolor=figure.get_facecolor(), pil_kwargs=options
        )
    return buffer.getvalue()


def write_png(draw: Drawing, path: Path) -> Path:
    """Write a picture in the light theme, whole or not at all."""
    return write_bytes(to_png(draw(LIGHT)), path)


def write_bytes(content: bytes, path: Path) -> Path:
    """Write a file beside its place and move it there, so that nobody reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
    return path
