"""Protocols and scores on features that are there already."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from wecolora import errors, probe_features
from wecolora.evaluation import lars, ridge, scores
from wecolora.evaluation.features import FeatureTable

PROTOCOLS = ("logistic", "lars", "ridge", "knn")


def clouds(count, noise, seed, classes=6, width=24):
    """Points around one centre a class, and their classes."""
    centres = np.random.default_rng(99).normal(size=(classes, width))
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    points = centres[labels] + noise * generator.normal(size=(count, width))
    return points.astype(np.float32), labels


def findings(count, seed, noise=1.0):
    """Points with any number of three labels, the second harder to see than the first, the third not at all."""
    generator = np.random.default_rng(seed)
    labels = generator.random((count, 3)) < 0.3
    points = generator.normal(scale=noise, size=(count, 16))
    points[:, 0] += 3 * labels[:, 0]
    points[:, 1] += labels[:, 1]
    return points.astype(np.float32), labels


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_near_clouds_are_told_apart_and_mixed_ones_partly(protocol):
    easy = probe_features(*clouds(240, 0.3, 0), *clouds(120, 0.3, 1), protocol=protocol)
    hard = probe_features(*clouds(240, 3.0, 0), *clouds(120, 3.0, 1), protocol=protocol)
    assert easy.accuracy == 1.0
    assert 0.25 < hard.accuracy < 0.95
    assert hard.accuracy < hard.top5 <= 1
    assert hard.confidence_interval[0] <= hard.accuracy <= hard.confidence_interval[1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_any_number_of_labels_gives_an_area_for_each(protocol):
    result = probe_features(
        *findings(400, 0), *findings(300, 1), protocol=protocol, classes=("clear", "faint", "none")
    )
    areas = result.auc_per_class
    assert result.accuracy is None
    assert areas["clear"] > 0.9
    assert 0.6 < areas["faint"] < areas["clear"]
    assert 0.35 < areas["none"] < 0.65
    assert result.mean_auc == pytest.approx(np.mean(list(areas.values())))
    assert result.confidence_interval[0] < result.mean_auc < result.confidence_interval[1]
    assert (result.held_out_auc is None) == (protocol == "knn")


def test_a_class_that_every_or_no_test_image_has_is_left_out_and_named():
    points, labels = findings(300, 1)
    labels[:, 1] = True
    result = probe_features(*findings(200, 0), points, labels, protocol="ridge", classes=("a", "b", "c"))
    assert result.left_out_classes == ("b",)
    assert set(result.auc_per_class) == {"a", "c"}
    labels[:] = True
    with pytest.raises(errors.LabelsRequired, match="no class has test images both with and without"):
        probe_features(*findings(200, 0), points, labels, protocol="ridge")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_test_labels_have_no_influence_on_what_is_chosen(protocol):
    points, labels = clouds(240, 3.0, 0)
    others, truth = clouds(120, 3.0, 1)
    first = probe_features(points, labels, others, truth, protocol=protocol)
    second = probe_features(points, labels, others, (truth + 1) % 6, protocol=protocol)
    for name in ("regularisation", "learning_rate", "epoch", "held_out_accuracy", "neighbours"):
        assert getattr(first, name) == getattr(second, name)
    assert first.accuracy != second.accuracy


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_same_seed_gives_the_same_result(protocol):
    parts = (*clouds(180, 3.0, 0), *clouds(60, 3.0, 1))
    assert probe_features(*parts, protocol=protocol, seed=5) == probe_features(
        *parts, protocol=protocol, seed=5
    )


def test_lars_trains_each_rate_as_if_it_were_alone():
    points, labels = clouds(90, 2.0, 0)
    table = FeatureTable(points, labels, tuple("abcdef"))

    def weights(rates, epochs=3):
        for epoch, heads in enumerate(lars._train(table, rates, 0, "cpu"), start=1):
            if epoch == epochs:
                return [weight.detach().clone() for weight in heads.weights]

    together = weights((1.0, 300.0))
    for rate, weight in zip((1.0, 300.0), together, strict=True):
        assert weight.allclose(weights((rate,))[0], rtol=1e-3, atol=1e-5)
    assert not together[0].allclose(together[1], atol=1e-3)


@pytest.mark.parametrize("many_labels", [False, True])
def test_lars_takes_the_steps_of_batch_norm_autograd_and_timms_lars(many_labels):
    from timm.optim import Lars

    torch.manual_seed(0)
    rates = (0.5, 8.0)
    # Features far from 0, of different spread, one of which never changes.
    features = 7 + torch.randn(90, 12) * torch.linspace(0.01, 3, 12)
    features[:, 3] = 2.5
    labels = torch.rand(90, 4) < 0.3 if many_labels else torch.randint(0, 4, (90,))
    start = torch.randn(4, 12) * 0.1
    centre = features.mean(0)
    heads = lars._Heads(start, rates, centre)
    norm = torch.nn.BatchNorm1d(12, eps=1e-6, affine=False)
    layers = [torch.nn.Linear(12, 4) for _ in rates]
    for layer in layers:
        layer.weight.data.copy_(start)
        layer.bias.data.zero_()
    optimiser = Lars(
        [{"params": [layer.weight], "always_adapt": True} for layer in layers]
        + [{"params": [layer.bias], "always_adapt": False} for layer in layers],
        momentum=0.9,
    )
    for step in range(30):
        rows = torch.randperm(90)[:40]
        rate = 0.1 + 0.05 * step
        for group, base in zip(optimiser.param_groups, (*rates, lars.BASE_RATE, lars.BASE_RATE), strict=True):
            group["lr"] = rate * base
        normed = norm(features[rows])
        if many_labels:
            wanted = labels[rows].float()
            losses = [
                torch.nn.functional.binary_cross_entropy_with_logits(layer(normed), wanted)
                for layer in layers
            ]
        else:
            losses = [torch.nn.functional.cross_entropy(layer(normed), labels[rows]) for layer in layers]
        optimiser.zero_grad()
        sum(losses).backward()
        optimiser.step()
        heads.step(features[rows] - centre, labels[rows], rate)
    norm.eval()
    for number, layer in enumerate(layers):
        torch.testing.assert_close(heads.weights[number], layer.weight.data, rtol=2e-3, atol=1e-4)
        torch.testing.assert_close(heads.biases[number], layer.bias.data, rtol=2e-3, atol=1e-4)
        expected = layer(norm(features)).detach()
        assert np.allclose(heads.scores(features)[number], expected.numpy(), rtol=2e-3, atol=2e-3)


def test_lars_tries_the_authors_rate_on_large_sets_and_larger_ones_on_small_sets():
    assert lars.rates_for(1_300_000) == pytest.approx((0.1, 0.3))
    assert lars.rates_for(40_000) == pytest.approx((0.1, 0.3, 1.0, 3.0))
    assert lars.rates_for(1_000) == pytest.approx((1.0, 3.0, 10.0, 30.0, 100.0))


def test_lars_reports_what_it_chose():
    result = probe_features(*clouds(240, 2.0, 0), *clouds(60, 2.0, 1), protocol="lars")
    assert result.learning_rate in lars.rates_for(192)
    assert 1 <= result.epoch <= 50


def test_ridge_is_the_closed_form_that_scikit_learn_solves():
    points, labels = clouds(200, 3.0, 0)
    table = FeatureTable(points, labels, tuple("abcdef"))
    others, _ = clouds(50, 3.0, 1)
    normal = ridge._normal_equations(table)
    ours = normal.scores(others, normal.weights(0.5))
    scaler = StandardScaler().fit(points)
    theirs = RidgeClassifier(alpha=0.5 * len(points)).fit(scaler.transform(points), labels)
    # It regresses -1 and 1, we 0 and 1.
    assert np.allclose(2 * ours - 1, theirs.decision_function(scaler.transform(others)), atol=1e-4)


def test_nearest_neighbours_vote_by_similarity_and_are_no_more_than_there_are():
    known = np.array([[1, 0], [0.99, 0.1], [0, 1]], np.float32)
    result = probe_features(known, np.array([0, 0, 1]), 5 * known, np.array([0, 0, 1]), protocol="knn")
    assert (result.accuracy, result.neighbours) == (1.0, 3)


def test_areas_agree_with_scikit_learn_with_and_without_ties():
    generator = np.random.default_rng(3)
    labels = generator.random((200, 4)) < 0.4
    for found in (generator.normal(size=(200, 4)), generator.integers(0, 5, size=(200, 4)).astype(float)):
        ours = scores.auc_per_class(found, labels)
        theirs = [roc_auc_score(labels[:, c], found[:, c]) for c in range(4)]
        assert np.allclose(ours, theirs)
        weights = generator.integers(0, 3, size=(2, 200)).astype(float)
        order = np.argsort(found[:, 0], kind="stable")
        weighted = scores._weighted_auc(found[order, 0], labels[order, 0], weights[:, order])
        wanted = [roc_auc_score(labels[:, 0], found[:, 0], sample_weight=each) for each in weights]
        assert np.allclose(weighted, wanted)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = []
    for seed in range(300):
        low, high = scores.accuracy_interval(generator.random(400) < 0.7, seed)
        covered.append(low <= 0.7 <= high)
    assert 0.9 < np.mean(covered) < 0.99


def test_a_paired_difference_is_surer_than_two_intervals():
    generator = np.random.default_rng(0)
    first = generator.random(1000) < 0.7
    second = first.copy()
    second[np.flatnonzero(~first)[:30]] = True
    low, high = scores.difference_interval(first, second, 0)
    assert 0 < low < 0.03 < high < 0.05


def test_ties_are_not_counted_as_hits():
    ranks = scores.ranks_of_truth(np.zeros((3, 4)), np.array([0, 1, 3]))
    assert list(ranks) == [0, 1, 3]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda a, b, c, d: (a * np.nan, b, c, d), errors.NonFiniteFeatures, "row 0 of train_features"),
        (lambda a, b, c, d: (a, b, c[:, :3], d), errors.OutOfRange, "as wide as train_features"),
        (lambda a, b, c, d: (a, b[:5], c, d), errors.OutOfRange, "train_labels"),
        (lambda a, b, c, d: (a, b, c, d + 3), errors.OutOfRange, "from 0 to 5"),
        (lambda a, b, c, d: (a, b, c, d[:, None] == np.arange(6)), errors.OutOfRange, "of the kind of"),
        (lambda a, b, c, d: (a, np.r_[5, b[1:] % 5], c, d), errors.ClassTooSmall, "'5' has 1 training image"),
        (lambda a, b, c, d: (a, b * 0, c, d * 0), errors.LabelsRequired, "1 class"),
    ],
)
def test_features_that_do_not_fit_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        probe_features(*change(*clouds(60, 1.0, 0), *clouds(60, 1.0, 1)))


def test_neither_torch_nor_scikit_learn_is_loaded_before_it_is_needed():
    script = (
        "import sys, wecolora, wecolora.evaluation, wecolora.evaluation.options; "
        "print([name for name in ('torch', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
