"""The settings of TCL's benchmarks, their tables and curves."""

import dataclasses
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

WEIGHTS = {"method.imc", "method.lmi"}
# Of ALBEF and TCL, besides the method's.
OWN = {"training.learning-rate", "views.crop-scale", "views.randaugment"}


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks' folder, which is no part of the package, can be imported from."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def ablation(scripts: None) -> ModuleType:
    import tcl_ablation

    return tcl_ablation


@pytest.fixture
def flickr(scripts: None) -> ModuleType:
    import tcl_flickr8k

    return tcl_flickr8k


def write(out: Path, name: str, seed: int, record: dict) -> dict:
    record = {"contender": name, "seed": seed, "settings": {}} | record
    (out / f"{name}-{seed}.json").write_text(json.dumps(record), encoding="utf-8")
    return record


def recalls(module: ModuleType, value: float) -> dict[str, float]:
    return dict.fromkeys(module.RECALLS, value)


@pytest.mark.parametrize("dataset", ["scenes", "flickr8k"])
def test_settings_differ_in_the_two_weights_alone(ablation, dataset):
    options = ablation.Options(dataset=dataset, imc=0.5, lmi=0.75)
    settings = {name: ablation.settings_of(options, name, seed=1) for name in ablation.SETTINGS}
    others = [{key: value for key, value in one.items() if key not in WEIGHTS} for one in settings.values()]
    assert all(one == others[0] for one in others)
    assert {name: (one["method.imc"], one["method.lmi"]) for name, one in settings.items()} == {
        "albef": (0, 0),
        "imc": (0.5, 0),
        "lmi": (0, 0.75),
        "all": (0.5, 0.75),
    }
    assert set(ablation.LABELS) == set(settings)


def test_settings_are_the_methods_own(ablation):
    """A name that the method does not know would stop the benchmark an hour before its figures."""
    from likewise.methods.image_text.tcl.tcl import Config

    flags = ablation.TclSettings(queue_size=64).flags(("imc", "lmi"))
    own = {
        key.removeprefix("method.").replace("-", "_"): value
        for key, value in flags.items()
        if key.startswith("method.")
    }
    config = dataclasses.replace(Config(), **own)
    assert (config.imc, config.lmi, config.queue_size) == (0.25, 0.25, 64)


def test_scenes_decide_the_record_where_flickr8k_lies_does_not(ablation):
    scenes = ablation.settings_of(ablation.Options(train_scenes=30, image_size=32), "all", 0)
    assert scenes["data"] == "scenes:train=30,validation=1000,seed=0,size=32"
    assert "data" not in ablation.settings_of(ablation.Options(dataset="flickr8k"), "all", 0)


def test_each_pair_is_judged_once(ablation):
    asked = []
    odds = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)

    def judge(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        asked.extend(zip(images.tolist(), texts.tolist(), strict=True))
        return odds[images, texts]

    once = ablation.judged_once(judge, num_images=4, num_texts=6)
    for images, texts in (([0, 0, 3], [1, 2, 5]), ([3, 0, 2], [5, 1, 0]), ([0, 3], [2, 5])):
        assert np.array_equal(once(np.array(images), np.array(texts)), odds[images, texts])
    assert asked == [(0, 1), (0, 2), (3, 5), (2, 0)]


def test_sum_is_of_all_six_recalls(ablation):
    found = ablation.flat({"cosine": {name: place / 10 for place, name in enumerate(ablation.RECALLS)}})
    assert found["cosine: image to text R@5"] == 0.1
    assert found["cosine: sum"] == pytest.approx(1.5)
    assert len(found) == 7


def test_table_has_a_line_for_each_ranking(ablation, tmp_path):
    for seed, recall in ((0, 0.1), (1, 0.2)):
        rankings = {"cosine": recalls(ablation, recall), "re-ranked, k = 16": recalls(ablation, 2 * recall)}
        training = {"seconds": 90.0, "steps": 40}
        write(tmp_path, "albef", seed, {"training": training, "figures": ablation.flat(rankings)})
    cosine, judged = ablation.table_rows(tmp_path, ablation.LABELS, "setting")
    assert list(cosine) == [
        "setting",
        "ranking",
        "seeds",
        *ablation.RECALLS.values(),
        "sum",
        "steps",
        "minutes",
    ]
    assert cosine["setting"] == judged["setting"] == "cma+itm+mlm (ALBEF)"
    assert cosine["text to image R@10"] == "15.0 ± 7.1"
    assert cosine["sum"] == "90.0 ± 42.4"
    assert judged["ranking"] == "re-ranked, k = 16"
    assert judged["image to text R@1"] == "30.0 ± 14.1"
    assert (cosine["seeds"], cosine["steps"], cosine["minutes"]) == ("0 1", "40", "1.5")


def test_steps_fill_the_wall_time(flickr):
    assert flickr.steps_within(90, 1.5) == 3600
    assert flickr.steps_within(1, 7) == 9
    assert flickr.steps_within(0.1, 60) == 1


def test_contenders_have_the_same_encoders(flickr):
    options = flickr.Options()
    settings = {name: flickr.settings_of(options, name, 0, steps=7) for name in flickr.CONTENDERS}
    for name in ("ALBEF", "TCL"):
        differing = {key for key, _ in settings["CLIP"].items() ^ settings[name].items()}
        assert all(key.startswith("method.") or key in OWN for key in differing)
    assert {key for key, _ in settings["ALBEF"].items() ^ settings["TCL"].items()} == WEIGHTS


def test_rate_is_the_median_of_the_rounds_and_is_not_measured_twice(flickr, tmp_path, monkeypatch):
    rates = iter([64.0, 16.0, 32.0])
    monkeypatch.setattr(flickr, "train", lambda *_: {"seconds": 1.0, "steady_images_per_second": next(rates)})
    options = flickr.Options(out=tmp_path, batch_size=64, rate_rounds=3)
    for _ in range(2):
        assert flickr.seconds_a_step(options, ["TCL"]) == {"TCL": 2.0}


def test_curve_is_over_the_seconds_of_training(flickr, tmp_path):
    looked = {f"retrieval/{name}": 0.25 for name in flickr.RECALLS}
    lines = [
        {"kind": "train", "step": 1, "seconds": 2.0},
        {"kind": "train", "step": 2, "seconds": 3.0},
        {"kind": "evaluation", "step": 2, **looked},
        {"kind": "train", "step": 3, "seconds": 1.5},
        {"kind": "evaluation", "step": 3, **looked},
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    curve = flickr.curve_of(path)
    assert [(look["step"], look["seconds"]) for look in curve] == [(2, 5.0), (3, 6.5)]
    assert curve[0]["text_to_image_r5"] == 0.25


def test_curves_are_drawn(flickr, ablation, tmp_path):
    looks = [{"step": n, "seconds": 60.0 * n} | recalls(flickr, n / 10) for n in (1, 2, 3)]
    judged = {"cosine": recalls(flickr, 0.3), "re-ranked, k = 16": recalls(flickr, 0.4)}
    clip = write(
        tmp_path, "CLIP", 0, {"figures": ablation.flat({"cosine": judged["cosine"]}), "curve": looks}
    )
    tcl = write(tmp_path, "TCL", 0, {"figures": ablation.flat(judged), "curve": looks})
    rates = {"CLIP": 0.7, "TCL": 1.4}
    flickr.draw_curves({"CLIP": [clip], "TCL": [tcl, tcl]}, rates, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
