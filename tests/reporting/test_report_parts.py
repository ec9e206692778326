import base64
import io
import json
import re
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from likewise.evaluation.registry import figure_of
from likewise.metrics import over_seeds
from likewise.metrics.linear_probe import NOT_CONVERGED
from likewise.reporting import render_report
from likewise.reporting.axes import nice_ticks
from likewise.reporting.charts import Series, line_chart
from likewise.reporting.confusions import find_confusions
from likewise.reporting.curves import training_charts
from likewise.reporting.examples.galleries import (
    image_to_text_rows,
    image_uri,
    neighbour_rows,
    text_to_image_rows,
)
from likewise.reporting.formatting import (
    format_figure,
    format_percent,
    format_plain,
    method_title,
    title_of,
)
from likewise.reporting.inputs import ReportInputs
from likewise.reporting.point_colors import color_images
from likewise.reporting.summary import headlines, summary
from likewise.reporting.tables import key_tables, reasons, result_tables


def test_methods_have_their_titles():
    assert [method_title(name) for name in ("tcl", "multiview", "instance")] == [
        "TCL",
        "Multi-view",
        "Instance discrimination",
    ]
    assert method_title("glove") == "glove"  # there is none of that name


def test_figures_are_named_and_formatted():
    titles = {
        "image_to_text_r1": "Image to text, R@1",
        "text_to_image_median_rank": "Text to image, median rank",
        "reranked_image_to_text_r1": "Re-ranked: image to text, R@1",
        "some_new_metric": "Some new metric",
    }
    assert {key: figure_of("retrieval", key).title for key in titles} == titles
    assert title_of("some_new_metric") == "Some new metric"
    assert format_figure(figure_of("retrieval", "image_to_text_r1"), 0.7512) == "75.1 %"
    assert format_figure(figure_of("collapse", "effective_rank"), 12.345) == "12.35"
    assert format_percent(0.001) == "0.10 %"
    assert format_percent(0.0) == "0.0 %"
    assert format_percent(-0.123) == "-12.3 %"
    assert format_percent(-0.001) == "-0.10 %"
    assert format_plain(12345.6) == "12,346"
    assert format_plain(0.00025) == "2.5e-4"
    assert format_plain(float("inf")) == "not a number"


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.13, 0.88), (-3, 12000), (5, 5), (0, 0), (-2, -1.9), (1e-9, 3e-9)]
)
def test_ticks_enclose_the_values_with_round_steps(low, high):
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 8
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0], rtol=1e-3)


def test_a_line_breaks_where_values_are_missing():
    chart = line_chart("x", [Series("a", ((0, 1.0), (1, float("nan")), (2, 2.0), (3, 1.0)))], format_plain)
    path = chart.split(' d="')[1].split('"')[0]
    assert path.count("M") == 1
    assert path.count("L") == 1
    assert chart.count("<circle") == 1  # the first point has no neighbour to draw a line to
    longer = line_chart("x", [Series("a", ((0, 1.0), (1, 2.0), (2, float("nan")), (3, 1.0), (4, 1.0)))], str)
    assert longer.split(' d="')[1].split('"')[0].count("M") == 2


@pytest.mark.parametrize("high", [2, 3, 5, 9, 10, 11, 40, 12_345])
def test_steps_are_whole_numbers(high):
    chart = line_chart("x", [Series("a", ((1, 1.0), (high, 2.0)))], format_plain)
    places = re.findall(r'x="([\d.]+)" y="192" text-anchor="\w+">([\d,]+)<', chart)
    steps = [int(label.replace(",", "")) for _, label in places]
    for place, step in zip(places, steps, strict=True):
        assert float(place[0]) == pytest.approx(52 + (step - 1) / (high - 1) * 296, abs=0.06)
    assert len(steps) > 1


def test_lines_differ_in_their_dashes_too():
    several = [Series(name, ((0, 1.0), (1, 2.0))) for name in "abcdefg"]
    chart = line_chart("x", several, format_plain)
    looks = re.findall(r'<path class="c\d (d\d) line"', chart)
    assert looks[:7] == ["d0", "d1", "d2", "d3", "d4", "d5", "d0"]
    assert looks[7:] == looks[:7]  # the keys of the legend
    css = files("likewise.reporting").joinpath("report.css").read_text()
    assert all(f".{look} {{ stroke-dasharray" in css for look in set(looks) - {"d0"})


def looks_at(counts, *names):
    """A line of metrics for each dict of counts."""
    return [
        {"kind": "evaluation", "step": 10 * place, **counted} | dict.fromkeys(names, 0.5 + place / 10)
        for place, counted in enumerate(counts)
    ]


def test_a_curve_breaks_where_it_is_measured_on_more():
    few = {"retrieval/num_images": 1000, "retrieval/num_texts": 5}
    all_of_them = few | {"retrieval/num_images": 3000}
    name = "retrieval/image_to_text_r1"
    chart = training_charts(looks_at([few, few, few, all_of_them], name))[0]
    assert chart.count("<circle") == 1
    path = chart.split(' d="')[1].split('"')[0]
    assert (path.count("M"), path.count("L")) == (1, 2)
    assert "Measured on 1,000 images, then on 3,000 images" in chart
    whole = training_charts(looks_at([few] * 4, name))[0]
    assert "<circle" not in whole
    assert "Measured" not in whole
    # a look that could not be measured, and figures without counts, break nothing
    gap = looks_at([few, few, few], name)
    gap[1] = {"kind": "evaluation", "step": 10, "collapse/uniformity": -2.0}
    assert "<circle" not in training_charts(gap)[0]
    assert "<circle" not in training_charts(looks_at([{}] * 3, name))[0]


def test_spread_has_its_curves():
    shown = ["collapse/relative_deviation"]
    shown += [f"compared/{name}_relative_deviation" for name in ("images", "texts")]
    constant = ["collapse/deviation", "collapse/dimension", "few-shot/within_domain_confidence_interval"]
    charts = training_charts(looks_at([{}] * 3, *shown, *constant))
    assert [chart.split("</h3>")[0].split(">")[-1] for chart in charts] == [
        "Spread (1 is even, 0 collapsed)",
        "Spread of the compared embeddings (1 is even, 0 collapsed)",
    ]
    assert [word in charts[1] for word in ("images <b>", "texts <b>")] == [True, True]


def test_what_is_kept_is_drawn_beside_the_start():
    lines = [
        {
            "kind": "evaluation",
            "step": step,
            "retained/accuracy": 0.6 - step / 100,
            "retained/start_accuracy": 0.6,
        }
        for step in (10, 20)
    ]
    (chart,) = training_charts(lines)
    assert "Kept of what the starting model knew" in chart
    assert chart.count("starting model") > 1
    assert "60.0 %" in chart or "60 %" in chart


def test_a_single_point_is_a_dot():
    assert "<circle" in line_chart("x", [Series("a", ((5, 1.0),))], format_plain)


def test_pictures_come_back_as_they_went_in():
    thumbnail = np.zeros((3, 40, 40), np.uint8)
    thumbnail[0] = 250  # red
    uri = image_uri(thumbnail)
    picture = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert picture.size == (40, 40)
    red, green, blue = picture.convert("RGB").getpixel((20, 20))
    assert red > 240 > 20 > max(green, blue)
    assert Image.open(
        io.BytesIO(base64.b64decode(image_uri(np.zeros((3, 400, 400), np.uint8)).split(",")[1]))
    ).size == (160, 160)


def test_colours_follow_labels_then_words():
    embeddings = np.eye(4, dtype=np.float32)
    labelled = color_images(
        ReportInputs(
            title="", image_embeddings=embeddings, labels=np.array([1, 0, 1, -1]), label_names=["a", "b"]
        )
    )
    assert labelled.kinds == ["b", "a", "unlabelled"]
    assert labelled.kind_of.tolist() == [0, 1, 0, 2]
    captions = ["a dog runs", "the dog and a cat", "a cat", "rain"]
    worded = color_images(
        ReportInputs(title="", image_embeddings=embeddings, text_embeddings=embeddings, captions=captions)
    )
    assert "dog" in worded.kinds
    assert worded.kind_of[0] == worded.kind_of[1] == worded.kinds.index("dog")
    assert color_images(ReportInputs(title="", image_embeddings=embeddings)).kinds == []


def test_many_classes_share_the_last_colour():
    coloring = color_images(
        ReportInputs(title="", image_embeddings=np.ones((40, 2), np.float32), labels=np.arange(40) % 25)
    )
    assert len(coloring.kinds) == 10
    assert coloring.kinds[-1] == "16 others"
    assert coloring.kind_of.max() == 9


def pairs():
    """Four images and captions on a circle; caption 3 lies on image 0."""
    images = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)
    texts = np.array([[1, 0.02], [0.1, 1], [-1, 0.2], [1, -0.01]], np.float32)
    return ReportInputs(
        title="",
        image_embeddings=images,
        text_embeddings=texts,
        thumbnails=np.zeros((4, 3, 8, 8), np.uint8),
        captions=["zero", "one", "two", "three"],
    )


def test_best_and_worst_retrievals_worked_by_hand():
    best, worst = text_to_image_rows(pairs())
    assert [row.query.text for row in worst] == ["three"]
    # image 0 first (cosine 1), its own image 3 second: cosine 0.01 is above that of images 1 and 2
    assert worst[0].rank == 2
    assert [answer.text for answer in worst[0].answers] == ["zero", "three", "one"]
    assert [answer.right for answer in worst[0].answers] == [False, True, False]
    assert worst[0].wanted is None
    assert {row.query.text for row in best} == {"zero", "one", "two"}
    assert best[0].query.text == "zero"  # 1.00 - 0.02 is the widest margin
    _, worst = image_to_text_rows(pairs())
    # image 0 finds text 3 (0.99995) before its own (0.9998); image 3 likes text 3 best of all, if little
    # (0.01)
    assert [(row.query.text, row.rank) for row in worst] == [("zero", 2)]
    assert [answer.right for answer in worst[0].answers] == [False, True, False]
    assert len(image_to_text_rows(pairs())[0]) == 3


def test_the_right_answer_is_shown_when_none_of_the_first_is():
    _, worst = text_to_image_rows(pairs(), k=1)
    assert worst[0].answers[0].right is False
    assert worst[0].wanted is not None
    assert worst[0].wanted.text == "three"
    assert worst[0].wanted.similarity == pytest.approx(0.01, abs=1e-4)


def test_a_neighbour_is_never_the_query_itself():
    rows = neighbour_rows(pairs(), k=5)
    assert len(rows) == 4
    for row in rows:
        assert len(row.answers) == 3
        assert row.query.text not in [answer.text for answer in row.answers]
        assert all(answer.right is None for answer in row.answers)


def test_queries_have_a_right_neighbour_to_find():
    rows = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    inputs = ReportInputs(title="", image_embeddings=rows, image_groups=np.array([0, 1, 2, 3, 1, 5, 6, 7, 8]))
    assert [row.query.text for row in neighbour_rows(inputs)] == ["image 1", "image 4"]


def test_confusions_worked_by_hand():
    # two tight clusters; one "b" lies in the cluster of "a"
    embeddings = np.array(
        [[1, 0.0], [1, 0.01], [1, 0.02], [1, 0.05], [0, 1], [0.01, 1], [0.02, 1]], np.float32
    )
    inputs = ReportInputs(
        title="", image_embeddings=embeddings, labels=np.array([0, 0, 0, 1, 1, 1, 1]), label_names=["a", "b"]
    )
    found = find_confusions(inputs, k=2)
    assert [(pair.true, pair.predicted, pair.count, pair.total) for pair in found.pairs] == [("b", "a", 1, 4)]
    assert [[count for count, _ in row] for row in found.matrix] == [[3, 0], [1, 3]]
    assert found.accuracy == pytest.approx(6 / 7)


def test_an_image_alone_in_its_class_votes_but_is_not_asked():
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(60), 60 + np.arange(40) // 2])  # 60 alone, 20 pairs
    embeddings = rng.normal(size=(80, 16))[labels].astype(np.float32)
    inputs = ReportInputs(title="", image_embeddings=embeddings, labels=labels)
    found = find_confusions(inputs, k=1)
    assert (found.accuracy, found.num_items, found.num_alone) == (1.0, 40, 60)
    assert found.chance == pytest.approx(1 / 20)
    page = render_report(inputs)
    assert "among 100 labelled images" in page
    assert "% of 40 are right" in page
    assert "60 without another image of their class vote, but are not classified." in page
    alone = ReportInputs(title="", image_embeddings=embeddings, labels=np.arange(100))
    assert "Confusions: Each of 100 labelled images is alone in its class" in render_report(alone)


def test_a_single_look_is_no_curve():
    metrics = [{"kind": "evaluation", "step": 9, "retrieval/image_to_text_r1": 0.5}]
    assert training_charts(metrics) == []
    assert len(training_charts(metrics * 2)) == 1
    both = [{"kind": "train", "step": step, "loss": 1.0, "only_part": 1.0} for step in range(3)]
    assert "Only part" not in training_charts(both)[0]


def test_tables():
    (table,) = result_tables({"neighbours": {"accuracy": 0.9, "chance_accuracy": 0.1, "num_items": 50}})
    assert [(row.name, row.value, row.chance) for row in table.rows] == [("Accuracy", "90.0 %", "10.0 %")]
    assert table.counts == "50 items"
    tables = key_tables({"a": 1, "b": {"c": None, "d": {"e": True}}, "empty": {}}, "Top")
    assert [(table.name, table.rows) for table in tables] == [
        ("Top", [("a", "1")]),
        ("b", [("c", "none"), ("d.e", "yes")]),
    ]
    cut = key_tables({"b": {str(place): place for place in range(9)}}, "Top", 3)
    assert cut[0].rows[-1] == ("and others", "6")
    assert reasons([{"reason": "truncated: 1"}, {"reason": "truncated: 2"}, {}]) == [
        ("truncated", 2),
        ("no reason given", 1),
    ]


def test_what_must_be_known_of_figures_stands_with_them():
    found = {"accuracy": 0.5, "converged": False, "overlap": "3 of the 9 held-out rows have it"}
    (table,) = result_tables({"probe": found})
    assert table.remarks == [f"{NOT_CONVERGED.capitalize()}.", "3 of the 9 held-out rows have it."]
    assert f"{NOT_CONVERGED.capitalize()}." in render_report(ReportInputs(title="", results={"probe": found}))
    assert result_tables({"probe": found | {"converged": True, "overlap": None}})[0].remarks == []


def test_figures_over_several_seeds_are_shown():
    runs = [{"accuracy": share, "num_items": 50, "data_fingerprint": "a"} for share in (0.4, 0.6)]
    (table,) = result_tables(json.loads(json.dumps({"probe": over_seeds(runs)})))
    assert [row.value for row in table.rows] == ["50.0 % ± 14.1 % (2 runs)"]
    assert table.counts == "50 items"


def test_a_rank_stands_beside_the_greatest_that_it_could_have():
    signs = {"effective_rank": 2.0, "dimension": 256.0, "num_items": 6.0}
    assert headlines({"collapse": signs})[0].beside == "of at most 5"
    assert headlines({"collapse": signs | {"num_items": 900.0}})[0].beside == "of at most 256"


def test_figures_of_other_data_are_shown_with_their_source():
    own = {"probe": {"accuracy": 0.9}}
    others = [
        {"task": "probe", "source": "My_Table.csv", "part": "test", "figures": {"accuracy": 0.8}},
        {"task": "zero-shot", "source": "x.csv", "figures": {"accuracy": 0.7}},  # of an older file
    ]
    assert [(table.name, table.rows[0].value) for table in result_tables(own, others)] == [
        ("Linear probe", "90.0 %"),
        ("Linear probe on My_Table.csv (test)", "80.0 %"),
        ("Zero-shot classification on x.csv", "70.0 %"),
    ]
    assert "Linear probe on My_Table.csv" in render_report(ReportInputs(title="", results=own, others=others))


def test_an_overlap_of_the_parts_is_said_beside_the_figures():
    found = {"overlap": "3 of the 9 held-out rows have the picture of a training row"}
    inputs = ReportInputs(title="t", results={"probe": {"accuracy": 0.5}}, data_summary=found)
    assert summary(inputs).endswith("But 3 of the 9 held-out rows have the picture of a training row.")


def test_the_level_of_the_text_alone_stands_beside_an_accuracy() -> None:
    figures = {"accuracy": 0.9, "chance_accuracy": 0.5, "text_only_accuracy": 0.6}
    assert headlines({"entailment": figures})[0].beside == "chance 50.0 %; from the text alone 60.0 %"
    del figures["text_only_accuracy"]
    assert headlines({"entailment": figures})[0].beside == "chance 50.0 %"
