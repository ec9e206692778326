"""The routes against the model called directly, and what they refuse."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from served import client, data_uri, scene_uri

from likewise.model.model import Model
from likewise.search import Index, Term, query_vector
from likewise.serving.limits import Limits
from likewise.serving.schemas import PIXEL

JSON = {"content-type": "application/json"}
TEXTS = ["a red star", "two", "a large pink heart"]


def pixels(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])


@pytest.fixture(scope="module")
def asked(tcl: Model, index: Index) -> Iterator[TestClient]:
    with client(tcl, index=index, limits=Limits(max_inputs=8, max_body_mb=0.2)) as opened:
        yield opened


def results(asked: TestClient, path: str, body: dict[str, Any]) -> list[Any]:
    answer = asked.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return [row["result"] for row in answer.json()["results"]]


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_embeddings_are_the_models_in_both_formats(asked: TestClient, tcl: Model) -> None:
    given = [TEXTS[0], scene_uri(1), TEXTS[1], scene_uri(2)]
    expected = np.empty((4, tcl.dim), np.float32)
    expected[[0, 2]] = tcl.encode_texts(TEXTS[:2])
    expected[[1, 3]] = tcl.encode_images([pixels(scene_uri(1)), pixels(scene_uri(2))])
    answer = asked.post("/v1/embeddings", json={"input": given, "model": "small"}).json()
    assert [row["index"] for row in answer["data"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == sum(map(len, tcl.tokenizer.encode(TEXTS[:2])))  # type: ignore[union-attr]
    floats = np.array([row["embedding"] for row in answer["data"]], np.float32)
    np.testing.assert_allclose(floats, expected, atol=2e-5)
    coded = asked.post("/v1/embeddings", json={"input": given, "encoding_format": "base64"}).json()["data"]
    exact = np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in coded])
    np.testing.assert_array_equal(exact, floats)  # nine digits give the bits back


def test_embeddings_refuse_what_they_cannot_give(asked: TestClient, tcl: Model) -> None:
    def post(**body: Any) -> Any:
        return asked.post("/v1/embeddings", json=body)

    assert post(input="two", dimensions=tcl.dim).status_code == 200
    refused(post(input="two", dimensions=8), 422, "dimensions")
    refused(post(input="two", model="gpt-5"), 404, "model_not_found")
    refused(post(input=[]), 422, "empty")
    assert refused(post(input=["two", " "]), 422, "empty")["param"] == "input[1]"
    assert refused(post(input=["two", "data:image/png;base64,AAAA"]), 422, "bad_image")["param"] == "input[1]"
    refused(post(input=["two"] * 9), 413, "too_many")
    refused(post(input=[[1, 2, 3]]), 422, "invalid")
    refused(post(input="two", encoding="float"), 422, "invalid")
    long = "red star " * 40
    assert "32" in refused(post(input=long), 422, "too_long")["message"]
    cut = post(input=long, truncate=True).json()
    assert cut["usage"]["prompt_tokens"] == 32
    np.testing.assert_allclose(cut["data"][0]["embedding"], tcl.encode_texts(long)[0], atol=2e-5)
    refused(post(input="red " * 6000), 422, "too_long")
    refused(
        asked.post("/v1/embeddings", content=b"{", headers={"content-type": "application/json"}),
        400,
        "bad_json",
    )
    refused(
        asked.post("/v1/embeddings", content=b"{}", headers={"content-type": "text/plain"}),
        415,
        "content_type",
    )
    refused(asked.get("/v1/embeddings"), 405, "http")
    refused(asked.get("/v2"), 404, "http")
    surrogate = asked.post(
        "/v1/embeddings", content=b'{"input": "\\ud800"}', headers={"content-type": "application/json"}
    )
    refused(surrogate, 422, "bad_text")


def test_oversized_bodies_are_refused_at_once(asked: TestClient) -> None:
    refused(asked.post("/v1/embeddings", json={"input": "a" * 300_000}), 413, "too_large")
    parts = b'{"input": [' + b"[],[" * 40_000
    refused(
        asked.post("/v1/embeddings", content=parts, headers={"content-type": "application/json"}),
        413,
        "too_many",
    )


def test_pairs_are_the_models_and_one_bad_image_fails_alone(asked: TestClient, tcl: Model) -> None:
    good = [scene_uri(1), scene_uri(2)]
    body = {"images": [good[0], "data:image/png;base64,AAAA", good[1]], "texts": TEXTS}
    rows = asked.post("/match", json=body).json()["results"]
    assert rows[1]["error"]["param"] == "images[1]"
    expected = tcl.match([pixels(one) for one in good], [TEXTS[0], TEXTS[2]])
    np.testing.assert_allclose([rows[n]["result"]["probability"] for n in (0, 2)], expected, atol=1e-5)
    one_for_all = results(asked, "/match", {"images": good[0], "texts": TEXTS})
    np.testing.assert_allclose(
        [row["probability"] for row in one_for_all], tcl.match(pixels(good[0]), TEXTS), atol=1e-5
    )
    refused(asked.post("/match", json={"images": good, "texts": TEXTS}), 422, "bad_input")
    refused(asked.post("/match", json={"images": "photo.jpg", "texts": "two"}), 422, "bad_image")
    refused(asked.post("/match", json={"images": "http://localhost/a.png", "texts": "two"}), 422, "bad_image")


def test_grounding_is_in_pixels_of_the_image(asked: TestClient, tcl: Model) -> None:
    uri, boxes = scene_uri(3, size=(80, 40)), [[0.0, 0.0, 20.0, 20.0], [30.0, 10.0, 20.0, 20.0]]
    (found,) = results(asked, "/ground", {"images": uri, "phrases": "a star", "boxes": boxes})
    with pytest.warns(UserWarning, match="without a score: 1"):  # the square shows 20 to 60
        expected = tcl.ground(pixels(uri), "a star", boxes)[0]
    np.testing.assert_allclose(found["region"], expected.region, atol=1e-3)
    assert found["box_scores"] == [None, pytest.approx(expected.box_scores[1], rel=1e-3)]
    assert found["best_box"] == expected.best_box
    assert np.max(found["map"]) == 1
    refused(
        asked.post("/ground", json={"images": uri, "phrases": "a", "boxes": [[0, 0, 0, 1]]}), 422, "invalid"
    )


def test_explanations_are_the_models(asked: TestClient, tcl: Model) -> None:
    (found,) = results(asked, "/explain", {"images": scene_uri(1), "texts": TEXTS[0]})
    expected = tcl.explain(pixels(scene_uri(1)), TEXTS[0])[0]
    np.testing.assert_allclose(found["map"], expected.whole / expected.whole.max(), atol=2e-3)
    assert [one["word"] for one in found["words"]] == ["a", "red", "star"]
    refused(asked.post("/explain", json={"images": scene_uri(1)}), 404, "model_cannot")


def test_classes_by_their_names(asked: TestClient, tcl: Model) -> None:
    labels = ["red_star", "heart", "circle"]
    body = {"images": scene_uri(1), "labels": labels, "template": "a large {}", "top": 2}
    (found,) = results(asked, "/classify", body)
    cosines = (
        tcl.encode_texts(["a large red star", "a large heart", "a large circle"])
        @ tcl.encode_images(pixels(scene_uri(1)))[0]
    )
    best = np.argsort(-cosines)[:2]
    assert [one["label"] for one in found["classes"]] == [labels[place] for place in best]
    np.testing.assert_allclose([one["score"] for one in found["classes"]], cosines[best], atol=1e-5)
    refused(asked.post("/classify", json=body | {"template": "no place"}), 422, "invalid")
    refused(asked.post("/classify", json={"images": scene_uri(1)}), 404, "model_cannot")


def test_search_adds_terms_and_filters_first(asked: TestClient, tcl: Model, index: Index) -> None:
    query = [{"text": "a star"}, {"image": scene_uri(4), "weight": -0.5}]
    answer = asked.post("/search", json={"query": query, "top": 5, "thumbnails": True}).json()
    terms = [Term(text="a star"), Term(image=pixels(scene_uri(4)), weight=-0.5)]
    expected = index.search(query_vector(tcl, terms)[None], top=5)
    names = [record["id"] for record in index.records(expected.rows[0])]
    assert [hit["id"] for hit in answer["hits"]] == names
    np.testing.assert_allclose([hit["score"] for hit in answer["hits"]], expected.scores[0], atol=1e-5)
    np.testing.assert_allclose(
        [hit["percentile"] for hit in answer["hits"]], index.percentile(expected.scores[0], terms), atol=0.5
    )
    assert answer["matching"] == index.size
    assert answer["hits"][0]["thumbnail"].startswith("data:image/jpeg;base64,")
    assert "path" not in answer["hits"][0]
    label = answer["hits"][-1]["label"]
    some = asked.post("/search", json={"query": "a star", "filters": {"label": label}, "top": 100}).json()
    assert {hit["label"] for hit in some["hits"]} == {label}
    assert some["matching"] == len(some["hits"]) == len(index.matching({"label": label}))
    none = asked.post("/search", json={"query": "a star", "filters": {"label": "no such"}}).json()
    assert (none["matching"], none["hits"]) == (0, [])
    like = asked.post("/search", json={"query": [{"like": names[0]}], "top": 1}).json()
    assert like["hits"][0]["id"] == names[0]
    assert like["hits"][0]["score"] == pytest.approx(1, abs=1e-5)
    high = asked.post("/search", json={"query": [{"like": names[0]}], "min_score": 0.9999}).json()
    assert all(hit["score"] >= 0.9999 for hit in high["hits"])


@pytest.mark.parametrize(
    "body",
    [
        {"query": []},
        {"query": [{}]},
        {"query": [{"text": "a", "like": "b"}]},
        {"query": [{"text": "a", "weight": 0}]},
        {"query": [{"like": "no such id"}]},
        {"query": [{"image": "a star"}]},
        {"query": [{"text": "a"}, {"text": "a", "weight": -1}]},
        {"query": [{"text": "a"}] * 40},
        {"query": "a", "top": 0},
        {"query": "a", "top": 100_000},
        {"query": "a", "filters": {"no such": "a"}},
        {"query": "a", "filters": {"path": "/etc/passwd"}},
        {"query": "a", "filters": {"key": "a"}},
    ],
)
def test_searches_that_are_refused(asked: TestClient, body: dict[str, Any]) -> None:
    answer = asked.post("/search", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["message"]


def test_the_other_abilities(model_of: Callable[[str], Model]) -> None:
    image, other = scene_uri(5), scene_uri(6)
    captioner = model_of("captioning")
    with client(captioner) as asked:
        found = results(asked, "/caption", {"images": [image, other], "num_beams": 2, "num_captions": 2})
        expected = captioner.caption_candidates([pixels(image), pixels(other)], num_beams=2, num_captions=2)
        assert [[one["text"] for one in row] for row in found] == [[c.text for c in row] for row in expected]
        (seen,) = results(asked, "/explain", {"images": image})
        assert np.max(seen["map"]) == 1
        refused(asked.post("/caption", json={"images": image, "num_captions": 5}), 422, "bad_input")
        assert "tcl" in refused(asked.post("/match", json={}), 404, "model_cannot")["message"]
        refused(asked.post("/search", json={}), 404, "no_index")
    answerer = model_of("vqa")
    with client(answerer) as asked:
        body = {"images": image, "questions": ["is it?", "how many?"], "answers": ["yes", "no"], "look": True}
        found = results(asked, "/answer", body)
        direct = answerer.answer(pixels(image), ["is it?", "how many?"], ["yes", "no"])
        for row, answers in zip(found, direct, strict=True):
            assert [one["text"] for one in row["answers"]] == [one.text for one in answers]
            np.testing.assert_allclose(
                [one["probability"] for one in row["answers"]],
                [one.probability for one in answers],
                atol=1e-5,
            )
            assert np.shape(row["map"]) == (8, 8)
        refused(asked.post("/answer", json=body | {"answers": ["yes", "YES"]}), 422, "bad_input")
        refused(asked.post("/answer", json=body | {"free": True}), 422, "invalid")
        assert results(asked, "/answer", {"images": image, "questions": "is it?", "free": True})
    judge = model_of("entailment")
    with client(judge) as asked:
        (row,) = results(asked, "/entail", {"images": image, "statements": "a star", "look": True})
        verdict = judge.entail(pixels(image), "a star")[0]
        assert row["label"] == verdict.label
        assert row["probabilities"] == pytest.approx(verdict.probabilities, abs=1e-5)
        assert np.shape(row["maps"]) == (1, 8, 8)
    pairs = model_of("nlvr")
    with client(pairs) as asked:
        (row,) = results(
            asked, "/compare", {"left": image, "right": other, "statements": "two", "look": True}
        )
        assert row["probabilities"] == pytest.approx(
            pairs.compare(pixels(image), pixels(other), "two")[0].probabilities, abs=1e-5
        )
        assert np.shape(row["maps"]) == (2, 8, 8)


def test_the_model_describes_itself_and_the_examples_of_the_description_work(asked: TestClient) -> None:
    about = asked.get("/v1/models").json()["data"][0]
    assert about["id"] == "small"
    assert set(about["abilities"]) == {"encode_images", "encode_texts", "match", "ground"}
    assert "/search" in about["routes"]
    assert about["index"]["size"] == 25
    described = asked.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    tried = 0
    for path, methods in described["paths"].items():
        if "post" not in methods:
            continue
        name = methods["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition(
            "/"
        )[2]
        body = {
            field: schema["examples"][0]
            for field, schema in schemas[name]["properties"].items()
            if schema.get("examples")
        }
        if path == "/classify":
            body["labels"] = ["square", "circle"]
        assert asked.post(path, json=body).status_code == 200, (path, body)
        tried += 1
    assert tried == 6
    assert asked.post("/match", json={"images": PIXEL, "texts": "a"}).status_code == 200


def test_health_metrics_and_the_page(asked: TestClient) -> None:
    assert asked.get("/health").json() == {"status": "ok"}
    asked.post("/v1/embeddings", json={"input": "two"})
    text = asked.get("/metrics").text
    assert 'likewise_requests_total{route="/v1/embeddings",status="200"}' in text
    assert 'likewise_batch_inputs_bucket{le="1.0",work="texts"}' in text
    assert "likewise_queue_inputs 0.0" in text
    for path in ("/", "/page.css", "/page.js"):
        policy = asked.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    page = asked.get("/").text
    assert "http" not in page
    assert "<script>" not in page
    assert "style=" not in page


def test_who_may_ask(tcl: Model) -> None:
    body, token = {"input": "two"}, "sesame-7"
    with client(tcl, token=token) as asked:
        for headers in (
            {},
            {"authorization": "Bearer no"},
            {"authorization": token},
            {"authorization": "Bearer \xff"},
        ):
            answer = asked.post(
                "/v1/embeddings", json=body, headers={k: v.encode("latin-1") for k, v in headers.items()}
            )  # type: ignore[misc]
            refused(answer, 401, "no_token")
            assert answer.headers["www-authenticate"] == "Bearer"
        refused(asked.get("/metrics"), 401, "no_token")
        assert asked.get("/").status_code == asked.get("/health").status_code == 200
        good = {"authorization": f"Bearer {token}"}
        assert asked.post("/v1/embeddings", json=body, headers=good).status_code == 200
        refused(asked.get("/health", headers={"host": "evil.example:8080"}), 403, "wrong_host")
        refused(asked.get("/health", headers={"origin": "http://evil.example"}), 403, "wrong_origin")
        assert asked.get("/health", headers={"origin": "http://localhost"}).status_code == 200
        assert asked.get("/health", headers={"host": "[::1]:8080"}).status_code == 200


def test_the_deadline_passes(tcl: Model) -> None:
    with client(tcl, limits=Limits(deadline_seconds=0.001)) as asked:
        answer = asked.post("/v1/embeddings", json={"input": [data_uri(pixels(scene_uri(9)))] * 30})
        assert refused(answer, 503, "late")
        assert answer.headers["retry-after"] == "2"


def test_a_model_of_sounds_answers_for_texts(model_of: Callable[[str], Model]) -> None:
    model = model_of("clip-audio")
    with client(model) as opened:
        assert opened.get("/v1/models").json()["data"][0]["images"] is None
        answer = opened.post("/v1/embeddings", json={"input": TEXTS[:1]})
        assert answer.status_code == 200, answer.text
        np.testing.assert_allclose(
            answer.json()["data"][0]["embedding"], model.encode_texts(TEXTS[:1])[0], atol=2e-5
        )
        answer = opened.post("/v1/embeddings", json={"input": [scene_uri(1)]})
        assert "cannot encode images" in refused(answer, 404, "model_cannot")["message"]
