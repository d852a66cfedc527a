"""Recipes: named values for the options that a user does not give. Values are chosen by `benchmarks/ablation.py`."""

from collections.abc import Mapping

from wecolora.choices import BlockPolicy, Initialisation, LossPlace, Method, Recipe, TokenLoss

# The paper's own settings (Section 4.2) and, where it says nothing, its authors' code; see docs/method.md.
_PAPER: dict[str, object] = {
    "policy": BlockPolicy.LAST_OF_GROUP,
    "init": Initialisation.COPY,
    "epochs": 10,
    "loss": TokenLoss.L1,
    "loss_place": LossPlace.BEFORE_NORM,
    "smallest_crop": 0.2,
    "precision": "fp32",
}

# Blocks chosen on the images and refitted before training; then as many epochs as take no longer than the paper's ten.
_BEST: dict[str, object] = {
    "policy": BlockPolicy.MEASURED,
    "init": Initialisation.CLOSED_FORM,
    "refit_views": 2,
    "smallest_crop": 0.5,
    "epochs": 12,
    "views": 4,
    "learning_rate": 1e-3,
}

_INSTANT: dict[str, object] = {
    "policy": BlockPolicy.MIDDLE_OF_GROUP,
    "init": Initialisation.CLOSED_FORM,
    "refit_views": 2,
    "smallest_crop": 0.5,
    "epochs": 0,
}

_RECIPES = {Recipe.PAPER: _PAPER, Recipe.BEST: _BEST, Recipe.INSTANT: _INSTANT}


def default_recipe(method: Method) -> Recipe:
    """The recipe of a run that names none: the best one, but baselines as the paper compares them."""
    return Recipe.BEST if method is Method.WECOLORA else Recipe.PAPER


def recipe_values(recipe: Recipe) -> Mapping[str, object]:
    """What a recipe sets, by field of `DistillConfig`."""
    return _RECIPES[recipe]
