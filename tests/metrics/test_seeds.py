import json

import numpy as np
import pytest

from likewise.metrics import over_seeds


def test_worked_by_hand():
    result = over_seeds([{"r1": 0.2}, {"r1": 0.4}, {"r1": 0.6}])
    assert result["r1"] == pytest.approx({"mean": 0.4, "deviation": 0.2, "num_runs": 3})
    assert json.loads(json.dumps(result)) == result  # names and all, as the report reads it


def test_one_run_has_no_deviation():
    assert over_seeds([{"r1": 0.5}]) == {"r1": {"mean": 0.5, "deviation": None, "num_runs": 1}}


def test_what_is_no_number_in_each_run_is_left_out():
    run = {"accuracy": np.float32(0.5), "roc": [[0, 0], [1, 1]], "data_fingerprint": "a", "converged": True}
    runs = [run | {"threshold": None}, run | {"threshold": 0.3}]
    assert list(over_seeds(runs)) == ["accuracy"]


@pytest.mark.parametrize("runs", [[], [{"a": 1.0}, {"b": 1.0}], [{"a": float("nan")}]])
def test_runs_that_do_not_compare_are_refused(runs):
    with pytest.raises(ValueError):
        over_seeds(runs)
