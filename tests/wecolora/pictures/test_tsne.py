"""Maps of latent spaces."""

import json

import numpy as np
import pytest

from wecolora import errors
from wecolora.pictures.figures import DARK, LIGHT, to_png
from wecolora.pictures.tsne import draw_maps, make_maps

PNG = b"\x89PNG\r\n"


def classes_apart(classes=3, each=20, width=12, seed=0):
    """Features of classes that lie far from each other, and their numbers."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    features = 20 * generator.normal(size=(classes, width))[labels] + generator.normal(
        size=(len(labels), width)
    )
    return features.astype(np.float32), labels


def names(labels):
    return [f"{number}.png" for number in range(len(labels))]


def share_of_neighbours_alike(points, labels):
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return np.mean(labels[distances.argmin(axis=1)] == labels)


def test_classes_that_are_apart_stay_apart_and_those_that_are_mixed_stay_mixed():
    features, labels = classes_apart()
    noise = np.random.default_rng(1).normal(size=(len(labels), 5))
    maps = make_maps({"teacher": features, "student": noise}, labels, "abc", names(labels))
    assert share_of_neighbours_alike(maps.coordinates[0], labels) == 1
    assert share_of_neighbours_alike(maps.coordinates[1], labels) < 0.7


def test_the_same_seed_gives_the_same_maps_and_alike_models_lie_alike():
    features, labels = classes_apart()
    twice = [
        make_maps({"teacher": features, "student": features}, labels, "abc", names(labels)) for _ in range(2)
    ]
    assert twice[0].to_dict() == twice[1].to_dict()
    teacher, student = twice[0].coordinates
    assert np.allclose(teacher, student, atol=1e-6)


def test_a_mirrored_latent_space_is_turned_onto_the_teachers():
    features, labels = classes_apart()
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(12, 12)))[0]
    maps = make_maps({"teacher": features, "student": features @ rotation}, labels, "abc", names(labels))
    centres = [
        np.stack([points[labels == number].mean(axis=0) for number in range(3)])
        for points in maps.coordinates
    ]
    nearest = np.linalg.norm(centres[0][:, None] - centres[1][None], axis=2).argmin(axis=1)
    assert nearest.tolist() == [0, 1, 2]


def test_a_model_that_answers_all_images_alike_gives_one_point_and_not_a_crash():
    features, labels = classes_apart()
    maps = make_maps({"student": np.ones_like(features)}, labels, "abc", names(labels))
    assert not maps.coordinates[0].any()
    assert to_png(draw_maps(maps, LIGHT)).startswith(PNG)


def test_images_that_occur_many_times_are_mapped():
    features, labels = classes_apart(each=2)
    maps = make_maps({"student": np.repeat(features, 20, axis=0)}, np.repeat(labels, 20), "abc", range(120))
    assert np.isfinite(maps.coordinates[0]).all()


def test_of_many_images_a_random_choice_is_shown_and_counted():
    features, labels = classes_apart(each=40)
    maps = make_maps({"teacher": features}, labels, "abc", names(labels), most_points=30)
    assert (len(maps.files), maps.found, len(maps.coordinates[0])) == (30, 120, 30)
    chosen = [int(name.split(".")[0]) for name in maps.files]
    assert maps.labels.tolist() == labels[chosen].tolist()
    assert set(maps.labels.tolist()) == {0, 1, 2}


def test_the_data_holds_what_a_chart_with_images_needs():
    features, labels = classes_apart()
    data = json.loads(json.dumps(make_maps({"teacher": features}, labels, "abc", names(labels)).to_dict()))
    assert len(data["models"][0]["coordinates"]) == len(data["labels"]) == len(data["files"]) == 60
    assert data["classes"] == ["a", "b", "c"]
    assert data["parameters"]["initialisation"] == "pca"


def test_few_images_and_broken_features_are_refused_by_name():
    features, labels = classes_apart(classes=2, each=2)
    with pytest.raises(errors.TooFewImages, match="at least 5 images, and there are 4"):
        make_maps({"teacher": features}, labels, "ab", names(labels))
    features, labels = classes_apart()
    features[7, 3] = np.nan
    with pytest.raises(errors.NonFiniteFeatures, match=r"7\.png"):
        make_maps({"teacher": features}, labels, "abc", names(labels))


@pytest.mark.parametrize("classes", [3, 45, 200])
def test_any_names_and_any_number_of_classes_are_drawn_in_both_themes(classes):
    features, _ = classes_apart()
    labels = np.arange(60) % classes
    titles = ["_hidden", "$x_", "\u732b <b>", *(f"class {number}" for number in range(classes))][:classes]
    maps = make_maps({"teacher": features, "student": features}, labels, titles, names(labels))
    light, dark = (to_png(draw_maps(maps, theme)) for theme in (LIGHT, DARK))
    assert light.startswith(PNG)
    assert dark.startswith(PNG)
    assert light != dark
