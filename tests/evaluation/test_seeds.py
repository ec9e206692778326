import pytest

from likewise.evaluation import over_seeds


def test_worked_by_hand():
    result = over_seeds([{"r1": 0.2}, {"r1": 0.4}, {"r1": 0.6}])
    assert result["r1"].mean == pytest.approx(0.4)
    assert result["r1"].deviation == pytest.approx(0.2)
    assert str(result["r1"]) == "0.4 ± 0.2 (3 runs)"


def test_one_run_has_no_deviation():
    result = over_seeds([{"r1": 0.5}])["r1"]
    assert result.deviation is None
    assert str(result) == "0.5 (one run)"


@pytest.mark.parametrize("runs", [[], [{"a": 1.0}, {"b": 1.0}], [{"a": float("nan")}]])
def test_runs_that_do_not_compare_are_refused(runs):
    with pytest.raises(ValueError):
        over_seeds(runs)
