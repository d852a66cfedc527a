"""t-SNE of teacher and students side by side, coloured by class (paper, Figure 2).

All models get the same parameters and the same seed; each map starts from its own two first principal components
(Kobak and Berens, The art of using t-SNE, 2019). A map has no orientation of its own, so those of the students are
turned or mirrored onto the first model's, which changes no distance.

Legend: n images, F features, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from wecolora.errors import NonFiniteFeatures, TooFewImages
from wecolora.pictures.figures import CLASS_COLOURS, CLASS_MARKS, Theme, new_figure

Floats = NDArray[np.floating]

LEAST_POINTS = 5
MOST_POINTS = 10_000
PERPLEXITY = 30.0
ITERATIONS = 500
EARLY_ITERATIONS = 250
_COMPONENTS = 50  # of PCA before t-SNE: distances hardly change, neighbours are found sooner
_INITIAL_SPREAD = 1e-4
# The FFT's interpolation grid costs some seconds however few points there are; Barnes and Hut's tree does not.
_FFT_FROM = 3000
_NAMED_CLASSES = 20
_LEGEND_CLASSES = len(CLASS_COLOURS) * len(CLASS_MARKS)


@dataclass(frozen=True)
class TsneMaps:
    """Maps of the same images by several models.

    Attributes:
        models: names, ``teacher`` first.
        coordinates: [n, 2] of each model, without unit.
        labels: [n] numbers of classes.
        classes: C names.
        files: n names of the images.
        found: images there were before a random choice was made.
        perplexity: of t-SNE; less than `PERPLEXITY` when there are few images.
        seed: of the choice and of t-SNE.
    """

    models: tuple[str, ...]
    coordinates: tuple[Floats, ...]
    labels: NDArray[np.integer]
    classes: tuple[str, ...]
    files: tuple[str, ...]
    found: int
    perplexity: float
    seed: int

    def to_dict(self) -> dict[str, object]:
        """As JSON values, for a chart with the image at each point."""
        return {
            "models": [
                {"name": name, "coordinates": np.round(points.astype(float), 3).tolist()}
                for name, points in zip(self.models, self.coordinates, strict=True)
            ],
            "labels": self.labels.tolist(),
            "classes": list(self.classes),
            "files": list(self.files),
            "images_found": self.found,
            "parameters": {
                "perplexity": self.perplexity,
                "iterations": EARLY_ITERATIONS + ITERATIONS,
                "initialisation": "pca",
                "seed": self.seed,
            },
        }


def make_maps(
    features: Mapping[str, Floats],
    labels: Sequence[int] | NDArray[np.integer],
    classes: Sequence[str],
    files: Sequence[str],
    seed: int = 0,
    most_points: int = MOST_POINTS,
) -> TsneMaps:
    """Compute the maps.

    Args:
        features: [n, F] of every model by its name, of the same images in the same order; F may differ.
        labels: [n] numbers of classes.
        classes: C names.
        files: n names.
        seed: of the random choice and of t-SNE.
        most_points: a random choice of so many images is made where there are more.

    Raises:
        TooFewImages: fewer than five images.
        NonFiniteFeatures: NaN or infinity in a model's features.
        ValueError: lengths differ.
    """
    found = len(files)
    if found < LEAST_POINTS:
        raise TooFewImages("t-SNE", found, LEAST_POINTS)
    numbers = np.asarray(labels)
    if any(len(each) != found for each in (numbers, *features.values())):
        raise ValueError("features, labels and files must be of the same images")
    for each in features.values():
        broken = ~np.isfinite(each).all(axis=1)
        if broken.any():
            raise NonFiniteFeatures(files[int(broken.argmax())], int(broken.sum()), found)
    chosen = np.arange(found)
    if found > most_points:
        chosen = np.sort(np.random.default_rng(seed).permutation(found)[:most_points])
    perplexity = min(PERPLEXITY, (len(chosen) - 1) / 3)
    maps: list[Floats] = []
    for each in features.values():
        points = _map(each[chosen], perplexity, seed)
        maps.append(_turned(points, maps[0]) if maps else points)
    return TsneMaps(
        models=tuple(features),
        coordinates=tuple(maps),
        labels=numbers[chosen],
        classes=tuple(classes),
        files=tuple(files[index] for index in chosen.tolist()),
        found=found,
        perplexity=perplexity,
        seed=seed,
    )


def draw_maps(maps: TsneMaps, theme: Theme) -> Figure:
    """Draw the maps in one row, with a legend that holds for all of them."""
    panels = len(maps.models)
    legend_rows = 0 if len(maps.classes) > _LEGEND_CLASSES else -(-len(maps.classes) // _columns(maps))
    figure = new_figure(4.4 * panels, 4.7 + 0.2 * legend_rows, theme)
    for axes, name, points in zip(
        figure.subplots(1, panels, squeeze=False)[0], maps.models, maps.coordinates, strict=True
    ):
        _draw_map(axes, points, maps, theme)
        axes.set_title(name, color=theme.ink, fontsize=12)
    if legend_rows:
        _draw_legend(figure, maps, theme)
    return figure


def _columns(maps: TsneMaps) -> int:
    widest = max(4, *(len(name) for name in maps.classes))
    return max(1, min(len(maps.classes), int(60 * len(maps.models) / (widest + 4))))


def _draw_map(axes: Axes, points: Floats, maps: TsneMaps, theme: Theme) -> None:
    axes.set_facecolor(theme.paper)
    axes.set_aspect("equal", adjustable="datalim")
    # The axes of t-SNE have no meaning: numbers on them would only mislead.
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(theme.grid)
    size = float(np.clip(3.5e4 / len(points), 3, 26))
    for number in range(len(maps.classes)):
        members = points[maps.labels == number]
        axes.scatter(
            members[:, 0],
            members[:, 1],
            s=size,
            c=_colour(number),
            marker=_mark(number),
            linewidths=0,
            alpha=0.8,
            rasterized=True,
        )
    if len(maps.classes) > _NAMED_CLASSES:
        return
    for number, name in enumerate(maps.classes):
        members = points[maps.labels == number]
        if len(members):
            x, y = _most_central(members)
            axes.annotate(
                _shortened(name, 18),
                (x, y),
                ha="center",
                va="center",
                fontsize=9,
                fontweight="bold",
                color=theme.ink,
                path_effects=[withStroke(linewidth=3, foreground=theme.paper)],
                parse_math=False,
            )


def _draw_legend(figure: Figure, maps: TsneMaps, theme: Theme) -> None:
    marks = [
        Line2D([], [], linestyle="none", marker=_mark(number), color=_colour(number))
        for number in range(len(maps.classes))
    ]
    legend = figure.legend(
        handles=marks,
        labels=[str(number) for number in range(len(marks))],
        loc="outside lower center",
        ncols=_columns(maps),
        frameon=False,
        fontsize=8,
        labelcolor=theme.ink,
        handletextpad=0.1,
        columnspacing=1.0,
    )
    # Set afterwards, because matplotlib hides labels that begin with an underscore and reads dollar signs as formulae.
    for text, name in zip(legend.get_texts(), maps.classes, strict=True):
        text.set_parse_math(False)
        text.set_text(_shortened(name, 30))


def _shortened(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _colour(number: int) -> str:
    return CLASS_COLOURS[number % len(CLASS_COLOURS)]


def _mark(number: int) -> str:
    return CLASS_MARKS[number // len(CLASS_COLOURS) % len(CLASS_MARKS)]


def _most_central(members: Floats) -> tuple[float, float]:
    """The point of a class nearest to its median, so that the name lies on the class and not between two halves."""
    nearest = np.abs(members - np.median(members, axis=0)).sum(axis=1).argmin()
    return float(members[nearest, 0]), float(members[nearest, 1])


def _map(features: Floats, perplexity: float, seed: int) -> Floats:
    """[n, F] to [n, 2]."""
    from openTSNE import TSNE

    reduced = _principal_components(features)
    spread = float(reduced[:, 0].std())
    if spread <= 1e-9 * max(1.0, float(np.abs(features).max())):
        # A model that answers every image alike has no neighbours to keep, and openTSNE does not survive it.
        return np.zeros((len(features), 2))
    start = np.zeros((len(features), 2))
    start[:, : min(2, reduced.shape[1])] = reduced[:, :2] * (_INITIAL_SPREAD / spread)
    # Images that are alike must not start from the very same place: t-SNE could never part them.
    start += np.random.default_rng(seed).normal(scale=_INITIAL_SPREAD / 100, size=start.shape)
    embedding = TSNE(
        perplexity=perplexity,
        initialization=start,
        early_exaggeration_iter=EARLY_ITERATIONS,
        n_iter=ITERATIONS,
        negative_gradient_method="fft" if len(features) >= _FFT_FROM else "bh",
        n_jobs=1,
        random_state=seed % 2**32,
    ).fit(reduced)
    return np.asarray(embedding, dtype=float)


def _principal_components(features: Floats) -> Floats:
    from sklearn.decomposition import PCA

    wanted = min(_COMPONENTS, *features.shape)
    centred = features.astype(float) - features.mean(axis=0, dtype=float)
    if not centred.any():
        return np.zeros((len(features), wanted))
    reduced: Floats = PCA(wanted, svd_solver="covariance_eigh").fit_transform(centred)
    return reduced


def _turned(points: Floats, onto: Floats) -> Floats:
    """Turn or mirror a map so that it lies on another as well as it can (orthogonal Procrustes)."""
    left, _, right = np.linalg.svd(points.T @ onto)
    turned: Floats = points @ left @ right
    return turned
