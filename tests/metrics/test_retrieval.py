import numpy as np
import pytest
import torch

from likewise.metrics import first_hit_chance, first_ranks, inputs, ranking, retrieval, zero_shot
from likewise.metrics.relevance import Relevance, ids_of_texts, images_and_texts

F32, F64 = torch.float32, torch.float64


def naive_ranks(queries, candidates, own, theirs):
    ranks = []
    for query, group in zip(queries, own, strict=True):
        scores = [float(query @ c / np.linalg.norm(query) / np.linalg.norm(c)) for c in candidates]
        order = sorted(range(len(scores)), key=lambda place: -scores[place])
        hits = [rank for rank, place in enumerate(order, 1) if theirs[place] == group]
        ranks.append(hits[0] if hits else 0)
    return ranks


def test_ranks_match_a_naive_loop_whatever_the_tile(monkeypatch):
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(30, 5)).astype(np.float32), rng.normal(size=(90, 5)).astype(np.float32)
    image_groups, text_groups = np.arange(30), rng.integers(0, 33, 90)
    expected = naive_ranks(images, texts, image_groups, text_groups)
    relevance = Relevance(torch.from_numpy(image_groups), torch.from_numpy(text_groups))
    for tile in (1, 7, 64):
        monkeypatch.setattr(inputs, "TILE_ENTRIES", 90 * tile)
        assert first_ranks(images, texts, relevance).tolist() == expected


def test_two_captions_an_image_worked_by_hand():
    images = torch.eye(3)
    # image 0's second caption is its nearest; image 1's captions come second, behind one of image 2's
    texts = torch.tensor(
        [
            [0.1, 0.0, 1.0],
            [1.0, 0.0, 0.0],
            [0.3, 0.9, 0.1],
            [0.0, 0.8, 0.5],
            [0.0, 1.0, 0.01],
            [0.1, 0.1, 1.0],
        ]
    )
    groups = torch.tensor([0, 0, 1, 1, 2, 2])
    result = retrieval(images, texts, torch.arange(3), groups)
    # image 0: rank 1. image 1: text 4 (wrong) first, then text 2: rank 2.
    # image 2: texts 0 (0.995, wrong) and 5 (0.990): rank 2
    assert result["image_to_text_r1"] == pytest.approx(1 / 3)
    assert result["image_to_text_r5"] == 1.0
    assert result["image_to_text_median_rank"] == 2.0
    assert result["image_to_text_mean_reciprocal_rank"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    # texts 0 -> image 2 first, image 0 second; 1, 2, 3, 5 right; 4 -> image 1, then image 2
    assert result["text_to_image_r1"] == pytest.approx(4 / 6)
    assert result["num_images"] == 3
    assert result["num_texts"] == 6


def test_equal_groups_of_two_images_are_both_right():
    # images 0 and 1 show the same thing: finding either one's caption is right
    images = torch.tensor([[1.0, 0.0], [0.9, 0.1]])
    texts = torch.tensor([[0.9, 0.1], [1.0, 0.0]])
    assert retrieval(images, texts, torch.tensor([7, 7]), torch.tensor([7, 7]))["image_to_text_r1"] == 1.0


@pytest.mark.parametrize("dimension", [1, 3, 64, 257])
def test_collapsed_embeddings_come_last_not_first(dimension):
    generator = torch.Generator().manual_seed(dimension)
    image, text = torch.randn(dimension, generator=generator), torch.randn(dimension, generator=generator)
    groups = torch.arange(101)
    result = retrieval(image.repeat(101, 1), text.repeat(101, 1), groups, groups)
    assert result["image_to_text_r1"] == result["text_to_image_r10"] == 0.0
    assert result["image_to_text_median_rank"] == 101


@pytest.mark.parametrize(("dtype", "apart", "rank"), [(F64, 1e-7, 1), (F64, 1e-16, 2), (F32, 1e-7, 2)])
def test_ties_are_as_wide_as_rounding_is(dtype, apart, rank):
    query = torch.tensor([[1.0, 0.0]], dtype=dtype)
    angles = torch.tensor([0.5, 0.5 + apart], dtype=torch.float64)
    candidates = torch.stack([angles.cos(), angles.sin()], 1).to(dtype)
    relevance = Relevance(torch.tensor([0]), torch.tensor([0, 1]))
    assert first_ranks(query, candidates, relevance).tolist() == [rank]
    assert zero_shot(query, candidates, torch.tensor([0]))["accuracy"] == (rank == 1)
    items = torch.cat([query, candidates])
    found = ranking(items, torch.tensor([0, 0, 1]))
    assert found["precision_at_1"] == (rank == 1) / 2


def test_a_zero_model_comes_last():
    groups = torch.arange(5)
    assert retrieval(torch.zeros(5, 3), torch.zeros(5, 3), groups, groups)["image_to_text_r1"] == 0.0


def test_queries_without_an_answer_are_not_counted():
    result = retrieval(torch.eye(3), torch.eye(3)[:2], torch.arange(3), torch.arange(2))
    assert result["image_to_text_r1"] == 1.0
    assert result["num_images"] == 2
    with pytest.raises(ValueError, match="nothing to retrieve"):
        retrieval(torch.eye(2), torch.eye(2), torch.tensor([0, 1]), torch.tensor([2, 3]))


def test_equal_texts_are_right_wherever_one_of_them_is():
    """Pictures 0 and 1 share a caption, of which each has a text; a perfect model cannot tell these apart."""
    images, texts = torch.eye(4)[[0, 0, 2]], torch.eye(4)[[0, 0, 2]]
    groups, ids = torch.arange(3), torch.tensor([5, 5, 9])
    apart, alike = (retrieval(images, texts, groups, groups, text_ids=given) for given in (None, ids))
    assert apart["image_to_text_r1"] == apart["text_to_image_r1"] == pytest.approx(1 / 3)
    assert alike["image_to_text_r1"] == alike["text_to_image_r1"] == 1.0
    assert alike["chance_image_to_text_r1"] == pytest.approx((2 + 2 + 1) / 9)


def test_published_figures_count_equal_texts_of_other_images_as_wrong():
    """Images 0 and 1 have word-for-word equal captions, and image 0's is a little nearer to both."""
    images, texts = torch.tensor([[1.0, 0.0], [0.9, 0.1]]), torch.tensor([[1.0, 0.05], [0.9, 0.2]])
    groups, ids = torch.arange(2), torch.tensor([7, 7])
    found = retrieval(images, texts, groups, groups, text_ids=ids)
    assert found["image_to_text_r1"] == found["text_to_image_r1"] == 1.0
    assert found["published_image_to_text_r1"] == 0.5  # image 1 finds image 0's caption first
    assert found["published_text_to_image_r1"] == 1.0
    assert found["published_image_to_text_r5"] == found["chance_published_image_to_text_r5"] == 1.0
    assert found["chance_published_image_to_text_r1"] == 0.5
    plain = retrieval(images, texts, groups, groups)
    assert all(
        found[f"published_{way}_r1"] == plain[f"{way}_r1"] for way in ("image_to_text", "text_to_image")
    )
    assert not [key for key in plain if "published" in key]


def test_equal_texts_do_not_make_their_pictures_one():
    """Picture 0 has texts a and b, picture 1 texts b and c: a is wrong for picture 1 all the same."""
    groups, ids = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 2])
    of_images, of_texts = images_and_texts(torch.tensor([0, 1]), groups, ids)
    assert of_images.rows(0, 2).tolist() == [[True, True, True, False], [False, True, True, True]]
    assert of_texts.rows(0, 4).tolist() == of_images.rows(0, 2).T.tolist()
    assert of_images.rows(1, 2).tolist() == [[False, True, True, True]]
    assert of_images.counts().tolist() == [3, 3]
    assert of_texts.counts().tolist() == [1, 2, 2, 1]


@pytest.mark.parametrize("tile", [1, 7, 64])
def test_ids_that_all_differ_change_nothing(tile, monkeypatch):
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(30, 5)).astype(np.float32), rng.normal(size=(90, 5)).astype(np.float32)
    given = images, texts, np.arange(30), rng.integers(0, 33, 90)
    expected = retrieval(*given)
    monkeypatch.setattr(inputs, "TILE_ENTRIES", 90 * tile)
    expected |= {
        f"{chance}published_{way}_r{k}": expected[f"{chance}{way}_r{k}"]
        for chance in ("", "chance_")
        for way in ("image_to_text", "text_to_image")
        for k in (1, 5, 10)
    }
    assert retrieval(*given, text_ids=rng.permutation(90)) == pytest.approx(expected)


def test_texts_are_equal_but_for_case_and_space():
    ids = ids_of_texts(["A dog.", "a  dog. ", "a cat.", "A DOG."])
    assert ids[0] == ids[1] == ids[3] != ids[2]


def test_bad_arrays_are_refused():
    groups = torch.arange(2)
    with pytest.raises(ValueError, match="image_embeddings: 2 of 2 rows hold NaN"):
        retrieval(torch.full((2, 2), float("nan")), torch.eye(2), groups, groups)
    with pytest.raises(ValueError, match="text_groups"):
        retrieval(torch.eye(2), torch.eye(2), groups, torch.arange(3))
    with pytest.raises(ValueError, match="dimensions"):
        retrieval(torch.eye(2), torch.ones(2, 3), groups, groups)


def test_half_precision_and_numpy_are_taken():
    groups = np.arange(4)
    assert (
        retrieval(torch.eye(4).bfloat16(), np.eye(4, dtype=np.float64), groups, groups)["image_to_text_r1"]
        == 1
    )


def test_chance_worked_by_hand():
    # one right of ten: r1 = 0.1, r5 = 0.5; the median rank is 5; mean reciprocal rank = H_10 / 10
    chance = first_hit_chance([1, 1], 10, (1, 5, 10, 20))
    assert chance["r1"] == pytest.approx(0.1)
    assert chance["r5"] == pytest.approx(0.5)
    assert chance["r10"] == chance["r20"] == pytest.approx(1.0)
    assert chance["median_rank"] == 5
    assert chance["mean_reciprocal_rank"] == pytest.approx(sum(1 / k for k in range(1, 11)) / 10)
    # two right of four: the first is right in 1/2, one of two in 1 - (2/4)(1/3) = 5/6
    chance = first_hit_chance([2], 4, (1, 2, 3))
    assert [chance[name] for name in ("r1", "r2", "r3")] == pytest.approx([1 / 2, 5 / 6, 1])
    with pytest.raises(ValueError, match="1 to 4"):
        first_hit_chance([0], 4, (1,))


def test_chance_is_what_random_embeddings_score():
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(20).repeat_interleave(3)
    scores = []
    for _ in range(60):
        images, texts = torch.randn(20, 8, generator=generator), torch.randn(60, 8, generator=generator)
        scores.append(retrieval(images, texts, torch.arange(20), groups))
    for key in ("image_to_text_r5", "text_to_image_r5", "image_to_text_mean_reciprocal_rank"):
        mean = sum(score[key] for score in scores) / len(scores)
        assert mean == pytest.approx(scores[0]["chance_" + key], abs=0.02)
