import dataclasses
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest

from likewise.model.explanations.explanation import Explanation
from likewise.reporting import ReportInputs, page, render_report, write_report
from likewise.reporting.inputs import ExplainedPair
from likewise.reporting.summary import headlines, summary

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def made_inputs(count=40, captions_each=2, seed=0):
    """Images and texts that mostly find one another, in four classes."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(count, 8)).astype(np.float32)
    owner = np.repeat(np.arange(count), captions_each)
    texts = (images[owner] + 0.7 * rng.normal(size=(count * captions_each, 8))).astype(np.float32)
    return ReportInputs(
        title="CLIP on shapes",
        method="CLIP",
        settings={"seed": 0, "training": {"batch_size": 16, "nested": {"deep": None}}},
        metrics=[
            *(
                {"kind": "train", "step": s, "epoch": s / 10, "loss": 3 / s, "learning_rate": 0.1}
                for s in range(1, 60)
            ),
            {
                "kind": "evaluation",
                "step": 30,
                "retrieval/image_to_text_r1": 0.5,
                "collapse/effective_rank": 5.0,
            },
            {
                "kind": "evaluation",
                "step": 59,
                "retrieval/image_to_text_r1": 0.7,
                "collapse/effective_rank": 6.0,
            },
        ],
        results={
            "retrieval": {
                "image_to_text_r1": 0.75,
                "chance_image_to_text_r1": 0.025,
                "text_to_image_r1": 0.5,
                "chance_text_to_image_r1": 0.025,
                "num_images": count,
                "data_fingerprint": "abc123",
            }
        },
        data_summary={
            "kind": "folder",
            "fingerprint": "abc123",
            "counts": {"train": 100, "validation": count},
        },
        bad_records=[
            {"id": "7", "place": "captions.csv:7", "reason": "truncated: 12 bytes"},
            {"id": "9", "place": "captions.csv:9", "reason": "truncated: 3 bytes"},
        ],
        image_embeddings=images,
        text_embeddings=texts,
        thumbnails=rng.integers(0, 255, (count, 3, 16, 16)).astype(np.uint8),
        captions=[f"a caption of image {place}" for place in owner],
        caption_image=owner,
        labels=np.arange(count) % 4,
        label_names=["circle", "square", "star", "ring"],
    )


class Page(HTMLParser):
    """What a browser would build: tags with their attributes, text outside style."""

    VOID = frozenset({"meta", "link", "img", "line", "rect", "circle", "path", "col"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self):
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture(scope="module")
def full():
    return Page(render_report(made_inputs()))


def test_the_page_is_well_formed_and_whole(full):
    assert full.open == []
    shown = "results curves map neighbours retrievals confusions roc episodes clusters data settings"
    for part in shown.split():
        assert any(attributes.get("id") == part for attributes in full.all("section")), part
    assert "Captions: It needs a model that writes captions" in full.words
    assert "Attention maps: It needs a model whose fusion encoder" in full.words
    ids = [attributes["id"] for _, attributes in full.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_it_asks_nothing_of_the_network(full):
    assert full.all("script") == []
    for _, attributes in full.tags:
        for name, value in attributes.items():
            if name in ("src", "href"):
                assert value.startswith(("data:", "#")), value
            assert not name.startswith("on")
    html = render_report(dataclasses.replace(made_inputs(), title="plain"))
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_it_is_accessible(full):
    assert all(attributes.get("alt") for attributes in full.all("img"))
    drawings = [a for a in full.all("svg") if a.get("aria-hidden") != "true"]
    assert drawings
    assert all(a.get("role") == "img" and a.get("aria-label") for a in drawings)
    assert len(full.all("thead")) == len(full.all("table"))
    assert all("scope" in attributes for attributes in full.all("th"))
    assert full.all("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in full.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))  # none is left out


def test_rules_of_one_section_do_not_reach_into_another():
    """Maps of the embeddings are wide, those of words small; a class has one rule outside media queries."""
    css = files("likewise.reporting").joinpath("report.css").read_text().split("@media (max-width")[0]
    rules = re.findall(r"^(\.[\w-]+) {", css, re.MULTILINE)
    assert len(rules) == len(set(rules))
    heat = np.ones((1, 2, 2), np.float32)
    found = Explanation(words=["a"], maps=heat, whole=heat[0], probability=0.9)
    image = np.zeros((3, 8, 8), np.uint8)
    pairs = [
        ExplainedPair(caption="a", image=image, right=right, explanation=found) for right in (True, False)
    ]
    html = render_report(dataclasses.replace(made_inputs(), explanations=pairs))
    section = html[html.index('<section id="attention"') : html.index('<section id="confusions"')]
    assert 'class="words"' in section
    assert 'class="maps"' not in section
    for mark in ("good", "bad"):
        assert f'<b class="{mark}">' in section
        assert f".{mark}" in rules


def test_the_figures_stand_beside_chance(full):
    assert "75.0 %" in full.words
    assert "2.5 %" in full.words
    assert "CLIP was trained for 59 steps" in full.words
    assert "truncated" in full.words
    assert "captions.csv:9" in full.words
    assert "abc123" in full.words


def test_right_and_wrong_are_marked(full):
    alts = " ".join(attributes["alt"] for attributes in full.all("img"))
    assert "right:" in alts
    assert "wrong:" in alts


def test_text_of_the_user_stays_text():
    inputs = made_inputs()
    evil = dataclasses.replace(
        inputs,
        title=EVIL,
        method=EVIL,
        settings={EVIL: EVIL, "part": {EVIL: [EVIL]}},
        metrics=[
            {"kind": "train", "step": 1, EVIL: 1.0},
            {"kind": "evaluation", "step": 1, f"{EVIL}/{EVIL}": 1.0},
        ],
        results={EVIL: {EVIL: 0.5, "data_fingerprint": EVIL, "num_" + EVIL: 3}},
        data_summary={EVIL: EVIL, "fingerprint": EVIL, "columns": {EVIL: EVIL}},
        bad_records=[{"id": EVIL, "place": EVIL, "reason": EVIL}],
        captions=[EVIL] * len(inputs.captions),
        label_names=[EVIL, EVIL + "1", EVIL + "2", EVIL + "3"],
        shown_part=EVIL,
    )
    for version in (
        evil,
        dataclasses.replace(evil, labels=None),
        dataclasses.replace(evil, image_embeddings=None),
    ):
        html = render_report(version)
        page = Page(html)
        assert page.open == []
        assert page.all("script") == []
        assert "<script" not in html
        assert all(attributes["src"].startswith("data:image/") for attributes in page.all("img"))
        assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"results": {}}, "has not been evaluated"),
        ({"metrics": ()}, "Nothing was logged"),
        ({"thumbnails": None}, "No images"),
        ({"labels": None, "label_names": None}, "no class labels"),
        ({"data_summary": {}, "bad_records": ()}, "No description of the data"),
        ({"settings": {}}, "No settings"),
        ({"text_embeddings": None, "captions": None, "caption_image": None}, "needs images and captions"),
        ({"image_embeddings": np.ones((40, 8), np.float32)}, "embeddings of all images are the same"),
    ],
)
def test_what_is_missing_is_left_out_with_the_reason(changes, reason):
    page = Page(render_report(dataclasses.replace(made_inputs(), **changes)))
    assert page.open == []
    assert reason in page.words


def test_a_report_of_nothing():
    page = Page(render_report(ReportInputs(title="Nothing yet")))
    assert page.open == []
    assert page.all("section") == []
    assert [link["href"] for link in page.all("a")] == []
    assert "Confusions, Verification: The data has no class labels." in page.words
    assert "has not been evaluated yet" in page.words


def test_links_lead_to_the_sections_that_are_there(full):
    links = [link["href"] for link in full.all("a")]
    assert links == [f"#{section['id']}" for section in full.all("section")]
    assert "#attention" not in links


def test_galleries_are_folded():
    """At 400 px they would fill most of the page."""
    html = render_report(made_inputs())
    for name in ("neighbours", "retrievals", "confusions", "episodes", "clusters"):
        section = html[html.index(f'<section id="{name}"') :]
        section = section[: section.index("</section>")]
        assert "<img" in section
        assert section.index("<details>") < section.index("<img")
    assert "<img" not in re.sub(r"<details>.*?</details>", "", html, flags=re.DOTALL)


def test_the_size_devices_and_versions_are_shown():
    facts = {"Weights": "1,234", "Precision of training": "float32"}
    for settings in ({}, {"training": {"steps": 3}}):
        page = Page(render_report(dataclasses.replace(made_inputs(), facts=facts, settings=settings)))
        assert "Weights 1,234 Precision of training float32" in page.words
        assert ("All settings" in page.words) == bool(settings)


def test_one_neighbour_accuracy_is_named():
    inputs = made_inputs()
    assert "are right; always answering" in render_report(inputs)
    results = inputs.results | {"neighbours": {"accuracy": 0.8125, "chance_accuracy": 0.25}}
    section = render_report(dataclasses.replace(inputs, results=results)).split('<section id="confusions"')[1]
    section = section.split("</section>")[0]
    assert "The neighbour accuracy among the results is another figure" in section
    assert "are right" not in section


def test_cards_show_what_a_method_is_for():
    results = {
        "few-shot": {"accuracy": 0.06, "chance_accuracy": 0.05, "num_ways": 20, "num_shots": 1},
        "clustering": {"purity": 0.1, "nmi": 0.1},
        "neighbours": {"accuracy": 0.9, "chance_accuracy": 0.1},
    }
    for method, shown in (("tcl", False), ("simclr", False), ("supcon", True), (None, True)):
        names = [headline.name for headline in headlines(results, method)]
        assert "Neighbour accuracy" in names
        assert ("20-way 1-shot accuracy" in names) == shown
        inputs = ReportInputs(title="", method=method, results=results)
        assert ("Shown one example" in summary(inputs)) == shown
    # Where there is nothing else, as for new classes, they are shown.
    alone = {"few-shot": results["few-shot"]}
    assert [headline.name for headline in headlines(alone, "simclr")] == ["20-way 1-shot accuracy"]


def test_texts_alone():
    rng = np.random.default_rng(0)
    page = Page(
        render_report(
            ReportInputs(
                title="SimCSE",
                text_embeddings=rng.normal(size=(30, 6)).astype(np.float32),
                captions=[f"一只狗在公园里 sentence {place % 3}" for place in range(30)],
                text_groups=np.arange(30) // 2,
            )
        )
    )
    assert page.open == []
    assert "30 texts" in page.words
    assert "wrong" in page.words


@pytest.mark.parametrize("count", [1, 2, 4, 5, 7])
def test_few_images(count):
    page = Page(render_report(made_inputs(count=count, captions_each=1)))
    assert page.open == []


def test_collapse_is_said_aloud():
    signs = {"relative_deviation": 0.001, "effective_rank": 1.0, "dimension": 64.0, "num_items": 100.0}
    page = Page(render_report(dataclasses.replace(made_inputs(), results={"collapse": signs})))
    assert "nearly all the same" in page.words


def test_several_seeds_and_odd_values_are_shown():
    results = {
        "neighbours": {
            "accuracy": {"mean": 0.5, "deviation": 0.01, "num_runs": 3},
            "chance_accuracy": 0.1,
            "strange": float("nan"),
            "empty": None,
            "flag": True,
        }
    }
    words = Page(render_report(dataclasses.replace(made_inputs(), results=results))).words
    assert "50.0 % ± 1.0 % (3 runs)" in words
    assert "not a number" in words


def test_metrics_that_broke_off_are_drawn():
    metrics = [{"kind": "train", "step": s, "loss": float("nan") if s > 3 else 1.0 / s} for s in range(1, 9)]
    metrics += [{"kind": "train", "step": 9, "loss": None}, {"kind": "other", "step": 1, "x": 1.0}]
    metrics = [json.loads(json.dumps(line)) for line in metrics]
    html = render_report(dataclasses.replace(made_inputs(), metrics=metrics))
    assert "nan" not in re.sub(r"data:[^\"]*", "", html).lower()


def test_values_that_are_not_finite_are_refused():
    inputs = made_inputs()
    broken = inputs.image_embeddings.copy()
    broken[3, 0] = np.nan
    with pytest.raises(ValueError, match="image_embeddings: 1 of 40 rows"):
        render_report(dataclasses.replace(inputs, image_embeddings=broken))


@pytest.mark.parametrize(
    "changes",
    [
        {"captions": ["too few"]},
        {"labels": np.zeros(3, np.int64)},
        {"labels": np.full(40, 4)},
        {"caption_image": np.full(80, 40)},
        {"thumbnails": np.zeros((40, 16, 16, 3), np.uint8)},
        {"text_embeddings": np.zeros((80, 9), np.float32)},
        {"image_groups": np.zeros(2, np.int64)},
    ],
)
def test_inputs_that_do_not_fit_are_refused(changes):
    with pytest.raises(ValueError):
        dataclasses.replace(made_inputs(), **changes)


def test_writing_replaces_the_file_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "runs" / "report.html"
    write_report(ReportInputs(title="first"), path)
    write_report(ReportInputs(title="second"), path)
    assert "second" in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_report_that_cannot_be_written_leaves_nothing_beside(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    rendered = []
    monkeypatch.setattr(page, "render_report", lambda inputs: rendered.append(inputs) or "\udcff")
    with pytest.raises(IsADirectoryError, match="folder"):
        write_report(ReportInputs(title="first"), tmp_path / "folder")
    assert not rendered
    with pytest.raises(UnicodeEncodeError):
        write_report(ReportInputs(title="first"), tmp_path / "report.html")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_the_same_inputs_give_the_same_page():
    assert render_report(made_inputs()) == render_report(made_inputs())
