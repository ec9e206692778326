import dataclasses

import numpy as np
import pytest

from likewise.metrics import verification
from likewise.reporting import ReportInputs, render_report
from likewise.reporting.examples.class_galleries import find_clusters, find_episodes
from likewise.reporting.roc import find_roc
from likewise.reporting.summary import headlines, summary
from likewise.reporting.tables import result_tables


def made_inputs(num_classes=8, of_each=6, noise=0.7):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(num_classes), of_each)
    rows = rng.normal(size=(num_classes, 6))[labels] + noise * rng.normal(size=(len(labels), 6))
    return ReportInputs(
        title="Letters",
        image_embeddings=rows.astype(np.float32),
        thumbnails=rng.integers(0, 255, (len(labels), 3, 8, 8)).astype(np.uint8),
        labels=labels,
        label_names=[f"letter {label}" for label in range(num_classes)],
        domains=labels // 4,
        domain_names=["Greek", "Latin"],
    )


def test_episodes_stay_inside_a_domain_with_mistakes_first():
    tables = find_episodes(made_inputs())
    assert len(tables) == 3
    for table in tables:
        assert table.domain in ("Greek", "Latin")
        names = {column.support.text for column in table.columns}
        assert names == {f"letter {label + 4 * (table.domain == 'Latin')}" for label in range(4)}
        right = [column.query.right for column in table.columns]
        assert right == sorted(right)
        assert table.num_right == sum(right) < 4
        for column in table.columns:
            assert column.query.text == column.support.text
            assert (column.taken_for is None) == column.query.right
            if column.taken_for is not None:
                assert column.taken_for.text != column.query.text
                assert column.taken_for.similarity >= column.support.similarity
    assert find_episodes(dataclasses.replace(made_inputs(), domains=None))[0].domain is None


def test_clusters_are_the_purest_and_the_most_mixed():
    pure, mixed = find_clusters(made_inputs(noise=1.5), num_members=4)
    assert [sheet.purity for sheet in pure] == sorted((sheet.purity for sheet in pure), reverse=True)
    assert mixed
    assert max(sheet.purity for sheet in mixed) <= min(sheet.purity for sheet in pure)
    for sheet in pure + mixed:
        assert len(sheet.members) == min(4, sheet.size)
        assert all(member.right == (member.text == sheet.majority) for member in sheet.members)
    pure, mixed = find_clusters(made_inputs(noise=0.01))
    assert mixed == []


def test_the_curve_is_the_results_own_where_there_is_one():
    inputs = made_inputs()
    found = find_roc(inputs)
    area = verification(inputs.image_embeddings, inputs.labels)["roc_auc"]
    assert found.facts[0][1] == f"{area:.3f}"
    figures = verification(inputs.image_embeddings, inputs.labels) | {"roc_auc": 0.123}
    assert find_roc(dataclasses.replace(inputs, results={"verification": figures})).facts[0][1] == "0.123"
    assert "area 0.123" in find_roc(dataclasses.replace(inputs, results={"verification": figures})).chart


def test_a_threshold_is_a_cosine_or_none():
    inputs = made_inputs()
    figures = verification(inputs.image_embeddings, inputs.labels)
    for value, words in ((None, "there is none"), (0.312, "about 0.31")):
        results = {"verification": figures | {"threshold": value}}
        assert words in find_roc(dataclasses.replace(inputs, results=results)).facts[2][2]
    assert "Threshold" not in str(result_tables({"verification": figures | {"threshold": None}}))


def test_sections_of_classes_come_with_labels_alone():
    inputs = made_inputs()
    page = render_report(inputs)
    unlabelled = render_report(dataclasses.replace(inputs, labels=None, label_names=None))
    for part in ("roc", "episodes", "clusters"):
        assert f'<section id="{part}"' in page
        assert f'href="#{part}"' in page
        assert f'<section id="{part}"' not in unlabelled
        assert f'href="#{part}"' not in unlabelled


def test_too_few_classes_are_left_out_with_the_reason():
    page = render_report(made_inputs(num_classes=2))
    assert "Verification: Verification needs pairs" in page
    alone = dataclasses.replace(made_inputs(8, 1), domains=None, domain_names=None)
    assert "Episodes: An episode needs two classes" in render_report(alone)


def test_results_of_classes_are_named_and_counted():
    figures = {
        "accuracy": 0.925,
        "confidence_interval": 0.004,
        "chance_accuracy": 0.05,
        "num_ways": 20,
        "num_shots": 1,
        "num_queries": 1,
        "within_domain_accuracy": 0.9,
    }
    table = result_tables({"few-shot": figures})[0]
    assert table.counts == "20 ways, 1 shot, 1 query"
    assert [(row.name, row.value) for row in table.rows] == [
        ("Accuracy", "92.5 %"),
        ("95 % interval, plus or minus", "0.40 %"),
        ("Within a domain: accuracy", "90.0 %"),
    ]
    assert headlines({"few-shot": figures})[0].name == "20-way 1-shot accuracy"
    text = summary(ReportInputs(title="", results={"few-shot": figures}))
    assert "one example of each of 20 classes, it finds the class of 92.5 ± 0.4 % of the images" in text
    inside = {"within_domain_map_at_r": 0.5, "within_domain_r_precision": 0.5}
    assert [row.name for row in result_tables({"ranking": inside})[0].rows] == [
        "Within a domain: MAP@R",
        "Within a domain: R-precision",
    ]


def test_domains_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="domains: 3 rows where 48"):
        dataclasses.replace(made_inputs(), domains=np.zeros(3, dtype=int))
