"""Which step each score would have chosen."""

from __future__ import annotations

from likewise.reporting.inputs import ReportInputs
from likewise.reporting.transfer import find_transfer


def evaluation(step: int, source: float, target: float, entropy: float) -> dict[str, object]:
    figures = {"source_accuracy": source, "target_accuracy": target, "entropy": entropy}
    named = {f"transfer/{key}": value for key, value in figures.items()}
    return {"kind": "evaluation", "step": step, **named}


def test_each_score_chooses_its_best_step_and_of_equal_ones_the_later() -> None:
    inputs = ReportInputs(
        title="DANN",
        settings={"training": {"select": "transfer.entropy"}},
        metrics=[
            evaluation(10, source=0.8, target=0.5, entropy=0.3),
            {"kind": "train", "step": 15},
            evaluation(20, source=0.9, target=0.4, entropy=0.1),
            evaluation(30, source=0.9, target=0.3, entropy=0.2),
        ],
        results={"transfer": {"label_names": ["a", "b"], "confusion": [[3, 1], [0, 0]]}},
    )
    found = find_transfer(inputs)
    steps = {row["score"]: row["step"] for row in found["choices"]}
    assert steps == {"Source accuracy": 30, "Entropy in the target (nats)": 20, "Target accuracy": 10}
    assert [row["oracle"] for row in found["choices"]] == [False, False, True]
    assert [row["selected"] for row in found["choices"]] == [False, True, False]
    assert found["matrix"] == [[(3, 0.75), (1, 0.25)], [(0, 0.0), (0, 0.0)]]
