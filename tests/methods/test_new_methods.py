"""A method is one file: those of tests/support/example_methods train from the command line as they are."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import SOURCE, logged, small_settings, stopped_after

import likewise.methods
from likewise.cli.main import main
from likewise.methods.catalog import find_method
from likewise.runs.folder import RunFolder
from likewise.runs.settings import read_settings
from likewise.training.checkpoints import latest_checkpoint, load_checkpoint
from likewise.training.engine import train

EXAMPLES = Path(__file__).parents[1] / "support" / "example_methods"
SMALL = f"--data {SOURCE} --image.image-size 32 --image.width 32 --image.depth 1 --training.steps 4"
SMALL += " --training.batch-size 16 --training.precision float32 --training.log-every 1 --quiet"


@pytest.fixture(autouse=True)
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The methods of the examples' folder are found."""
    monkeypatch.setattr(likewise.methods, "__path__", [*likewise.methods.__path__, str(EXAMPLES)])


def checkpoint(run: Path, step: int | None = None) -> dict[str, torch.Tensor]:
    path = latest_checkpoint(run / "checkpoints")
    assert path is not None
    weights: dict[str, torch.Tensor] = load_checkpoint(
        path if step is None else path.with_name(f"step-{step:08d}.ckpt")
    )["method"]
    return weights


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The first words of the weights that differ."""
    return {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}


def settings_of(name: str, **training: Any) -> Any:
    """A ViT, whose rows do not depend on one another."""
    settings = small_settings(name, **training)
    return dataclasses.replace(
        settings, image=dataclasses.replace(settings.image, architecture="vit", width=32, depth=1)
    )


@pytest.mark.parametrize("name", ["alternating", "staged"])
def test_phases_resume_to_the_same_bits(name: str, tmp_path: Path) -> None:
    settings = settings_of(name)
    train(settings, tmp_path / "whole", show=False)
    for step in (2, 3) if name == "staged" else (3,):
        cut = tmp_path / f"cut {step}"
        with stopped_after(step, name):
            train(settings, cut, show=False)
        train(settings, cut, resume=True, show=False)
        assert not moved(checkpoint(tmp_path / "whole"), checkpoint(cut))


def test_stages_move_their_own_weights_alone(tmp_path: Path) -> None:
    run = train(settings_of("staged", save_every=3), tmp_path / "run", show=False).path
    assert moved(checkpoint(run, 3), checkpoint(run, 6)) == {"critic"}
    with stopped_after(2, "staged"):
        train(settings_of("staged", save_every=1), tmp_path / "cut", show=False)
    assert moved(checkpoint(tmp_path / "cut", 1), checkpoint(tmp_path / "cut", 2)) == {"network"}
    lines = find_lines(run)
    assert [("ramp" in line, "critic" in line) for line in lines] == 3 * [(True, False)] + 3 * [(False, True)]
    assert [line["ramp"] for line in lines[:3]] == pytest.approx([1, 7 / 6, 8 / 6])


def find_lines(run: Path) -> list[dict[str, Any]]:
    return [line for line in RunFolder(run).read_metrics() if line["kind"] == "train"]


def test_alternating_phases_move_their_own_weights_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = find_method("alternating")
    objective, before, seen = kind.objective, {}, []

    def watched(self, embeddings, step):  # type: ignore[no-untyped-def]
        now = {name: value.detach().clone() for name, value in self.named_parameters()}
        if before:
            seen.append(moved(before, now))  # by the phase before this one
        before.update(now)
        seen.append(step.phase)
        return objective(self, embeddings, step)

    monkeypatch.setattr(kind, "objective", watched)
    run = train(settings_of("alternating", steps=2), tmp_path / "run", show=False)
    one = ["classes", {"network", "heads"}, "disagree", {"heads"}, "agree", {"network"}, "agree"]
    assert seen == [*one, {"network"}, *one]
    assert {"classes_distance", "disagree_distance", "agree_distance"} <= find_lines(run.path)[0].keys()


def test_phases_with_cached_gradients_and_on_two_processes(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        f"import sys, likewise.methods\nlikewise.methods.__path__.append({str(EXAMPLES)!r})\n"
        "from likewise.cli.main import main\nif __name__ == '__main__':\n    main(sys.argv[1:])\n"
    )
    words = ["train", "alternating", *SMALL.split(), "--training.optimizer", "sgd"]
    main([*words, "--out", str(tmp_path / "whole")])
    main([*words, "--training.micro-batch-size", "5", "--out", str(tmp_path / "parts")])
    command = [sys.executable, str(script), *words, "--training.devices", "2", "--out", str(tmp_path / "two")]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    whole = checkpoint(tmp_path / "whole")
    for other in ("parts", "two"):
        # The loss of two processes is the mean of theirs, and so is the distance of the heads.
        for name, value in checkpoint(tmp_path / other).items():
            torch.testing.assert_close(value, whole[name], rtol=1e-3, atol=1e-5, msg=f"{other}: {name}")


def test_each_view_family_has_a_section(tmp_path: Path) -> None:
    main(["train", "staged", *SMALL.split(), "--views-strong.hue", "0.3", "--out", str(tmp_path / "run")])
    settings = read_settings(tmp_path / "run" / "config.toml")
    assert (settings.views.hue, settings.sections()["views_strong"].hue) == (0, 0.3)
    main(["train", "staged", "--resume", "--quiet", "--out", str(tmp_path / "run")])


def test_a_method_of_texts_alone_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No image option, no image section, no figure of images."""
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("".join(f"the {a} {b} is here\n" for a in "abcdefgh" for b in ("cat", "dog", "owl")))
    words = ["train", "sentences_only", "--data", str(sentences), "--out", str(tmp_path / "run"), "--quiet"]
    words += ["--text.width", "32", "--text.depth", "1", "--text.heads", "2", "--text.dropout", "0.1"]
    main([*words, "--training.steps", "6", "--training.batch-size", "8", "--training.log-every", "1"])
    config = (tmp_path / "run" / "config.toml").read_text()
    assert "[text]" in config
    assert "[image]" not in config
    assert "[views]" not in config
    assert len(logged(tmp_path / "run", "nt_xent")) == 6
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert "compared/first_effective_rank" in (tmp_path / "run" / "metrics.jsonl").read_text()
    capsys.readouterr()
    main(["methods", "sentences_only"])
    assert "A sentence must find itself under another dropout mask." in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*words, "--image.width", "32"])
