"""What would a change of a recipe gain? Trials of options, judged on labelled images of which none are test images.

Accuracy on a thousand images has a standard error of over a point, which hides what a change of a recipe gives. So
every trial is judged by more: the student's tokens and pooled features beside the teacher's, how alike both find the
same images (1 - linear CKA of the features), the log-loss and accuracy of a logistic probe that is fitted on either
half of the labelled images and tested on the other, and the distance on the views that the student was trained on,
which shows how much of it is learned by heart. One line of JSON a trial.

    ./run bench recipe_trials --teacher own.safetensors --architecture vit_small_patch14_dinov2 --image-size 56 \
        --images unlabelled --labelled train --k 64 --trials '{}' '{"block_weight": 1}'
"""

import argparse
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

import wecolora
from benchmarks.ablation import features_and_tokens
from benchmarks.machine import describe_machine
from benchmarks.own_teacher import add_teacher_and_images
from wecolora.block_search import linear_cka
from wecolora.images import PlainImages, load_images
from wecolora.teachers import preprocessing_of
from wecolora.views import AugmentedImages

# Inverse strengths of the probe's penalty; the one with the least log-loss counts, the same for all trials.
_PENALTIES = (0.003, 0.01, 0.03)


@dataclass
class _Judge:
    """Labelled images, views of the unlabelled ones, and what the teacher says of both."""

    images: Tensor
    labels: np.ndarray
    features: np.ndarray
    tokens: Tensor
    views: Tensor
    view_tokens: Tensor

    def __call__(self, student: nn.Module) -> dict[str, float]:
        features, tokens = features_and_tokens(student, self.images)
        _, of_views = features_and_tokens(student, self.views)
        centre = self.features.mean(axis=0)
        ours, theirs = (torch.from_numpy(each - centre) for each in (features, self.features))
        log_loss, accuracy = self._probe(features)
        scores = {
            "token_l1": float((tokens - self.tokens).abs().mean()),
            "token_l1_of_a_view_in_training": float((of_views - self.view_tokens).abs().mean()),
            "feature_distance": float(1 - F.cosine_similarity(ours, theirs).mean()),
            "one_minus_cka": 1 - linear_cka(ours, theirs),
            "log_loss": log_loss,
            "accuracy": accuracy,
        }
        return {name: round(score, 4) for name, score in scores.items()}

    def _probe(self, features: np.ndarray) -> tuple[float, float]:
        """Log-loss and accuracy of probes fitted on one half and tested on the other, both ways."""
        halves = StratifiedKFold(2, shuffle=True, random_state=0)
        results = []
        for penalty in _PENALTIES:
            log_loss = hits = 0.0
            for fitted, tested in halves.split(features, self.labels):
                mean, spread = features[fitted].mean(axis=0), features[fitted].std(axis=0) + 1e-6
                standard = (features - mean) / spread
                probe = LogisticRegression(C=penalty, max_iter=300, tol=1e-3)
                # Three hundred steps are enough for the digits that are printed.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    probe.fit(standard[fitted], self.labels[fitted])
                chances = probe.predict_proba(standard[tested])
                truth = self.labels[tested]
                log_loss -= float(np.log(chances[np.arange(len(truth)), truth]).sum())
                hits += float((chances.argmax(axis=1) == truth).sum())
            results.append((log_loss / len(features), hits / len(features)))
        return min(results)


def main() -> None:
    """Run with the options of the command line."""
    options = _parse()
    print(json.dumps({**describe_machine(), "torch_threads": torch.get_num_threads()}), flush=True)  # noqa: T201
    teacher = wecolora.load_teacher(
        wecolora.TeacherSpec(options.teacher, options.architecture, options.image_size)
    )
    judge = _make_judge(teacher, options)
    for trial in [None, *options.trials]:
        if trial is None:
            line: dict[str, Any] = {"trial": "teacher", **judge(teacher)}
        else:
            settings = {
                "compression_factor": options.r,
                "lora_rank": options.k,
                "seed": options.seed,
                **trial,
            }
            result = wecolora.distill(teacher, options.images, **settings)
            line = {"trial": trial, "r": options.r, "seed": options.seed, **judge(result.student)}
        print(json.dumps(line), flush=True)  # noqa: T201


def _make_judge(teacher: nn.Module, options: argparse.Namespace) -> _Judge:
    labelled = wecolora.read_labelled(options.labelled, options.labelled).train
    preprocessing = preprocessing_of(teacher)
    plain = PlainImages(list(labelled.images), preprocessing)
    images = torch.stack([plain[index] for index in range(len(plain))])
    crop = wecolora.DistillConfig(recipe=wecolora.Recipe.BEST).smallest_crop
    unlabelled = load_images(options.images, preprocessing.size, smallest_crop=crop)
    augmented = AugmentedImages(unlabelled, preprocessing, options.seed, crop)
    views = augmented.batch([(0, index) for index in range(len(augmented))])
    features, tokens = features_and_tokens(teacher, images)
    _, view_tokens = features_and_tokens(teacher, views)
    return _Judge(images, np.asarray(labelled.labels), features, tokens, views, view_tokens)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_teacher_and_images(parser)
    parser.add_argument("--labelled", type=Path, required=True, help="one folder a class; no test images")
    parser.add_argument("--r", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=json.loads, nargs="+", required=True, help="options, each as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
