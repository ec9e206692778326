"""Zero-shot classification: the nearest class caption names the image.

N images, C classes, T templates, D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from likewise.metrics.chance import accuracy_chance
from likewise.metrics.classification import classification_metrics
from likewise.metrics.inputs import Array, as_labels, as_unit_pair, as_unit_rows
from likewise.metrics.retrieval import tie_margin

__all__ = ["class_embeddings", "zero_shot"]


def class_embeddings(prompt_embeddings: Array) -> torch.Tensor:
    """One unit vector per class: the direction of the mean of its prompts' unit vectors.

    Args:
        prompt_embeddings: (C, T, D), or (C, D) for one prompt per class.

    Returns:
        (C, D), unit length.

    Raises:
        ValueError: another number of dimensions, or a value that is not finite.

    Reference:
        Radford et al. 2021, 2103.00020, section 3.1.4 (ensembling in embedding space).
    """
    prompts = torch.as_tensor(prompt_embeddings)
    if prompts.ndim == 2:
        prompts = prompts[:, None]
    if prompts.ndim != 3:
        raise ValueError(f"prompt_embeddings: expected (C, T, D) or (C, D), got {tuple(prompts.shape)}")
    unit = as_unit_rows(prompts.reshape(-1, prompts.shape[2]), "prompt_embeddings")  # (C T, D)
    return F.normalize(unit.reshape(prompts.shape).mean(dim=1), dim=1)


def zero_shot(
    image_embeddings: Array, prompt_embeddings: Array, labels: Array, *, at: Sequence[int] = (5,)
) -> dict[str, float]:
    """How well the nearest class caption names the image.

    Ties count against the model, as in retrieval: another class within rounding of the right one (1e-6 in
    float32) is the answer. So equal embeddings of all captions score 0.

    Args:
        image_embeddings: (N, D).
        prompt_embeddings: (C, T, D) embeddings of `prompts`, or (C, D).
        labels: (N,) in [0, C); images with a negative label (unknown) are left out.
        at: each k below C for which to return the share with the right class among the first k.

    Returns:
        `accuracy`, `precision`, `recall`, `f1` (means over classes), `chance_accuracy`, `num_items`, and
        `top_{k}` with `chance_top_{k}`, the share of the k most frequent classes.

    Raises:
        ValueError: shapes that don't fit, a label that is no class, or a value that is not finite.
    """
    images, classes = as_unit_pair(
        image_embeddings, class_embeddings(prompt_embeddings), ("image_embeddings", "prompt_embeddings")
    )
    truth = as_labels(labels, "labels", count=len(images), device=images.device)
    images, truth = images[truth >= 0], truth[truth >= 0]
    if len(truth) == 0:
        raise ValueError("labels: no image has a label")
    if int(truth.max()) >= len(classes):
        raise ValueError(f"labels: {int(truth.max())} is not one of the {len(classes)} classes")
    cosine = images @ classes.T  # (N, C): classes are few
    own = truth[:, None]
    rank = (cosine >= cosine.gather(1, own) - tie_margin(cosine.dtype)).sum(
        dim=1
    )  # (N,) from 1, the class itself counted
    best_other = cosine.scatter(1, own, -torch.inf).argmax(dim=1)
    answers = torch.where(rank == 1, truth, best_other)
    result = classification_metrics(truth, answers, num_classes=len(classes)).figures()
    for k in at:
        if k < len(classes):
            result[f"top_{k}"] = float((rank <= k).double().mean())
            result[f"chance_top_{k}"] = accuracy_chance(truth.cpu(), top=k)
    return result
