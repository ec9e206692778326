"""Which explanation a model has: of a match, of a cosine, or of the caption that it writes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from likewise.errors import AbilityError
from likewise.model.explanations.caption_maps import explain_captions
from likewise.model.explanations.cosine_cam import explain_cosines
from likewise.model.explanations.explanation import Explanation
from likewise.model.explanations.grad_cam import explain, explainable
from likewise.model.runtime import Runtime
from likewise.networks.fusion import FusionNetwork

__all__ = ["Kind", "explain_images", "kind_of_explanation"]

Kind = Literal["match", "text cosine", "image cosine", "caption"]


def kind_of_explanation(model: Runtime, *, of_texts: bool, of_images: bool) -> Kind:
    """What can be explained of images with texts, with other images, or alone.

    Args:
        model: any.
        of_texts: texts are given.
        of_images: other images are given.

    Raises:
        AbilityError: the model has no such explanation; the message says which it has.
    """
    if of_images:
        model.needs("encode_images")
        return "image cosine"
    if "caption" in model.abilities:
        return "caption"
    if not of_texts:
        able = ["a text"] * ("encode_texts" in model.abilities)
        able += ["another image"] * ("encode_images" in model.abilities)
        if not able:
            raise AbilityError(
                f"this model ({model.config['method']}) has nothing to explain of an image alone or of its "
                "match with a text; models of clip, tcl, captioning and of images alone do."
            )
        raise AbilityError(
            f"this model ({model.config['method']}) writes no captions: give {' or '.join(able)} to compare "
            "the image with."
        )
    if isinstance(model.network, FusionNetwork):
        explainable(model)
        return "match"
    if {"encode_images", "encode_texts"} <= {*model.abilities}:
        return "text cosine"
    instead = " It can explain the similarity to another image." * ("encode_images" in model.abilities)
    raise AbilityError(
        f"this model ({model.config['method']}) does not compare images with texts; models of clip, tcl and "
        f"captioning do.{instead}"
    )


def explain_images(
    model: Runtime,
    stored: Tensor,
    *,
    texts: list[str] | None = None,
    others: Tensor | None = None,
    layer: int | None = None,
) -> list[Explanation]:
    """Explain B images.

    Args:
        model: any that `kind_of_explanation` accepts.
        stored: (B, 3, S, S) uint8 squares.
        texts: B texts to compare the images with, or to write as their captions.
        others: (B, 3, S, S) uint8 squares to compare the images with.
        layer: fusion layer, of models that have them.

    Raises:
        AbilityError: the model has no such explanation.
        ValueError: there is no such layer, or the model has none.
    """
    kind = kind_of_explanation(model, of_texts=texts is not None, of_images=others is not None)
    if layer is not None and kind != "match":
        raise ValueError("this model has no fusion layers to choose from")
    if kind == "caption":
        return explain_captions(model, stored, texts)
    if kind == "match":
        assert texts is not None
        return explain(model, stored, texts, layer=layer)
    with model.computing(), torch.no_grad():
        if others is not None:
            wanted = model.needs("encode_images").encode_images(model.pixels(others))
        else:
            assert texts is not None
            wanted = model.needs("encode_texts").encode_texts(*model.tokens(texts))
    # Outside of inference mode: a graph may hold no tensor that was made in it.
    return explain_cosines(model, stored, wanted.clone(), texts)
