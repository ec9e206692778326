import pytest
import torch
import torch.nn.functional as F

from likewise.metrics import TEMPLATES, class_embeddings, prompts, zero_shot


def test_prompts():
    assert prompts(["polar_bear"]) == [["a photo of a polar bear."]]
    assert prompts(["猫", "{狗}"], ["一张{}。", "{}"]) == [["一张猫。", "猫"], ["一张{狗}。", "{狗}"]]
    assert len(TEMPLATES["clip-7"]) == 7
    assert len(set(TEMPLATES["cifar"])) == 18
    assert all(template.count("{}") == 1 for templates in TEMPLATES.values() for template in templates)


@pytest.mark.parametrize(
    ("names", "templates"),
    [(["a"], "unknown"), ([], "photo"), (["a"], []), (["a"], ["no place"]), (["a"], ["{}{}"])],
)
def test_prompts_that_cannot_work_are_refused(names, templates):
    with pytest.raises(ValueError):
        prompts(names, templates)


def test_a_class_is_the_mean_of_unit_vectors():
    # lengths must not matter: (10, 0) and (0, 1) lie equally far from their class
    assert torch.allclose(
        class_embeddings(torch.tensor([[[10.0, 0.0], [0.0, 1.0]]])), torch.full((1, 2), 0.5**0.5)
    )
    one = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(class_embeddings(one), F.normalize(one, dim=1))


def test_worked_by_hand():
    classes = torch.eye(3)[:, None]
    images = torch.tensor([[1.0, 0.2, 0.0], [0.5, 1.0, 0.0], [1.0, 0.0, 0.9], [0.1, 0.9, 0.2]])
    labels = torch.tensor([0, 1, 2, -1])
    result = zero_shot(images, classes, labels, at=(2, 5))
    assert result["accuracy"] == pytest.approx(2 / 3)
    assert result["top_2"] == 1.0
    assert result["chance_top_2"] == pytest.approx(2 / 3)
    assert "top_5" not in result
    assert result["num_items"] == 3


def test_ties_count_against_the_model_in_every_figure():
    labels = torch.tensor([0] * 12 + [1, 2, 3, 4, 5, 6, 7, 7])  # class 0 is 60 %, and the lowest number
    result = zero_shot(torch.ones(20, 5), torch.ones(8, 3, 5), labels)
    assert [result[name] for name in ("accuracy", "precision", "recall", "f1", "top_5")] == [0.0] * 5
    # two classes alike: an image of either is taken for the other one
    classes = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    result = zero_shot(classes, classes, torch.tensor([0, 1, 2]), at=(2,))
    assert result["accuracy"] == pytest.approx(1 / 3)
    assert result["top_2"] == 1.0


def test_chance_is_that_of_the_commonest_classes():
    labels = torch.tensor([0] * 12 + [1] * 4 + [2] * 2 + [3, -1, 4])
    images = torch.randn(21, 5, generator=torch.Generator().manual_seed(0))
    result = zero_shot(images, torch.eye(8, 5), labels, at=(2, 6))
    assert result["chance_accuracy"] == pytest.approx(12 / 20)
    assert result["chance_top_2"] == pytest.approx(16 / 20)
    assert result["chance_top_6"] == pytest.approx(1.0)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        zero_shot(torch.eye(2), torch.full((2, 1, 2), float("nan")), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="not one of the 2 classes"):
        zero_shot(torch.eye(2), torch.eye(2), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="no image"):
        zero_shot(torch.eye(2), torch.eye(2), torch.tensor([-1, -1]))
    with pytest.raises(ValueError, match="expected"):
        class_embeddings(torch.ones(2, 2, 2, 2))
