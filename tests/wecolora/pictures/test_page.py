"""The page of a run, from reports with and without their parts."""

from html.parser import HTMLParser

import pytest

from wecolora.pictures.curves import TrainingCurves, draw_curves
from wecolora.pictures.page import LeftOut, Picture, render_page

EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>"\'&'


class Reader(HTMLParser):
    """Collects what a browser would act on."""

    void = {"meta", "img", "source", "br", "link"}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.text, self.addresses = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [
            value for name, value in attrs if name in ("src", "srcset", "href", "action", "data")
        ]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    assert "script" not in reader.tags
    assert "link" not in reader.tags
    assert all(address.startswith("data:image/png;base64,") for address in reader.addresses)
    return reader, " ".join(" ".join(reader.text).split())


def picture(caption="what it shows"):
    curves = TrainingCurves((1, 2), (0, 0), (1.0, 0.5), (1e-3, 1e-4))
    return Picture("training", "Training", caption, "a curve", lambda theme: draw_curves(curves, theme))


def report():
    """As the engine and the service write it."""
    cost = {"architecture": "vit_small_patch16_224", "image_size": 224, "device": "cpu"}
    return {
        "method": "wecolora",
        "recipe": {"name": "best", "changed": ["epochs"]},
        "versions": {"wecolora": "0.1.0", "torch": "2.13.0"},
        "config": {"compression_factor": 2, "seed": 7, "layers": None, "learning_rate": 1e-3},
        "teacher": cost | {"depth": 4, "parameters": 2000, "trainable_parameters": 2000, "gmacs": 4.0,
                           "latency_ms": 10.0, "file_size_bytes": 8_000_000},
        "student": cost | {"depth": 2, "parameters": 1000, "trainable_parameters": 300, "gmacs": 2.0,
                           "latency_ms": 5.0, "file_size_bytes": 4_000_000, "blocks": [1, 3], "lora_rank": 8,
                           "gmacs_unmerged": 2.5},
        "images": {"found": 12, "used": 10, "skipped": [{"path": "a.png", "reason": "broken"}]},
        "training": {"optimiser_steps": 20, "epochs": 2, "initial_loss": 1.0, "final_loss": 0.5},
        "load": 'timm.create_model("local-dir:student", pretrained=True)',
        "probe": {"teacher": {"accuracy": 0.9, "confidence_interval": [0.85, 0.95]},
                  "student": {"accuracy": 0.875, "confidence_interval": [0.8, 0.92]}},
    }  # fmt: skip


def test_the_page_says_what_the_report_says():
    reader, text = read(render_page(report(), [picture()], [LeftOut("attention", "give images")]))
    assert "vit_small_patch16_224: 4 → 2 blocks" in text
    assert "best, with other epochs" in text
    assert "2.0× as fast" in text
    assert "90.0 % (85.0 to 95.0) 87.5 % (80.0 to 92.0) \N{MINUS SIGN}2.5 points" in text
    assert "GMACs in training – 2.500" in text
    assert "parameters 2,000 1,000 0.50×" in text
    assert "file, MB 8.0 4.0 0.50×" in text
    assert "1 of 12 image files could not be used" in text
    assert 'timm.create_model("local-dir:student", pretrained=True)' in text
    assert "attention: give images" in text
    assert reader.tags.count("img") == 1


def test_kept_and_skipped_blocks_are_drawn():
    page = render_page(report())
    assert [f"block {number}, {state}" in page for number, state in enumerate(("skipped", "kept") * 2)] == [
        True
    ] * 4


def test_batch_sizes_are_shown_side_by_side_and_what_did_not_fit_as_a_dash():
    content = report()
    content["teacher"]["batches"] = [
        {"batch_size": 8, "latency_ms": 80.0, "images_per_second": 100.0, "peak_memory_bytes": 2_000_000},
        {"batch_size": 64, "latency_ms": None, "images_per_second": None, "peak_memory_bytes": None},
    ]
    content["student"]["batches"] = [
        {"batch_size": 8, "latency_ms": 40.0, "images_per_second": 200.0, "peak_memory_bytes": 1_000_000},
        {"batch_size": 64, "latency_ms": 320.0, "images_per_second": 200.0, "peak_memory_bytes": 3_000_000},
    ]
    _, text = read(render_page(content))
    assert "8 100.0 200.0 2.00× 2 1 0.50×" in text
    assert "64 – 200.0 – 3" in text


def test_evaluations_of_several_protocols_are_shown():
    content = report() | {
        "probe": None,
        "evaluation": {
            "results": {
                "teacher": {"knn": {"accuracy": 0.8}, "lars": {"accuracy": None, "mean_auc": 0.7}},
                "student": {"knn": {"accuracy": 0.75}, "lars": {"accuracy": None, "mean_auc": 0.72}},
            }
        },
    }
    _, text = read(render_page(content))
    assert "k-NN accuracy 80.0 % 75.0 % \N{MINUS SIGN}5.0 points" in text
    assert "lars probe mean AUC 70.0 % 72.0 % +2.0 points" in text


@pytest.mark.parametrize("missing", [*report(), None])
def test_a_report_without_any_of_its_parts_still_gives_a_page(missing):
    content = {} if missing is None else {key: value for key, value in report().items() if key != missing}
    read(render_page(content, [picture()]))


def test_what_users_named_cannot_become_markup():
    content = report()
    content["images"]["skipped"] = [{"path": f"{EVIL}.png", "reason": EVIL}]
    content["method"] = content["recipe"] = content["load"] = EVIL
    content["config"] = {EVIL: EVIL}
    content["versions"] = {EVIL: EVIL}
    content["student"]["architecture"] = EVIL
    reader, text = read(render_page(content, [picture(caption=EVIL)], [LeftOut(EVIL, EVIL)]))
    assert text.count(EVIL) >= 8
    assert reader.tags.count("img") == 1


def test_the_browser_is_told_to_load_and_run_nothing():
    page = render_page(report())
    assert "default-src 'none'" in page
    assert "img-src data:" in page
