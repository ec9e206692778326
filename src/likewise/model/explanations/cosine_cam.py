"""The image regions behind a cosine: Grad-CAM on the image encoder's last feature map.

Selvaraju et al. 2016, arXiv 1610.02391, equations 1 and 2, with the cosine to a text or to another image in
the place of a class's score. Dimensions: P pairs, S side in pixels, D width of the embedding, C channels and
g side of the feature map.
"""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from likewise.encoders.feature_maps import feature_map_of, kept_features
from likewise.encoders.image import ImageEncoder
from likewise.model.explanations.explanation import Explanation
from likewise.model.runtime import Runtime
from likewise.networks.base import Network

__all__ = ["cosine_maps", "explain_cosines"]


def explain_cosines(
    model: Runtime, stored: Tensor, wanted: Tensor, texts: list[str] | None = None
) -> list[Explanation]:
    """Explain the cosines of images with texts or other images.

    Args:
        model: can encode images.
        stored: (P, 3, S, S) uint8 squares.
        wanted: (P, D) embeddings of the texts or other images.
        texts: P texts, where these are compared with.

    Raises:
        AbilityError: the model cannot encode images.
    """
    network = model.needs("encode_images")
    with model.computing(with_gradients=True):
        maps, cosines = cosine_maps(network, model.pixels(stored), wanted.to(model.device))
    grids = maps.float().cpu().numpy()
    none = np.zeros((0, *grids.shape[1:]), np.float32)
    named: list[str | None] = [None] * len(grids) if texts is None else [*texts]
    return [
        Explanation(words=[], maps=none, whole=heat, text=text, cosine=cosine)
        for heat, cosine, text in zip(grids, cosines.tolist(), named, strict=True)
    ]


def cosine_maps(network: Network, pixels: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Grad-CAM of the cosine of each image's embedding with a given vector.

    Args:
        network: can encode images; in evaluation mode.
        pixels: (P, 3, S, S) normalized.
        wanted: (P, D), of any length.

    Returns:
        (P, g, g) maps, at least 0, and (P,) cosines. With several encoders (multiview) the sum of their maps.
    """
    encoders = [part for part in network.modules() if isinstance(part, ImageEncoder)]
    with ExitStack() as stack, torch.enable_grad():
        kept = [stack.enter_context(kept_features(encoder)) for encoder in encoders]
        # The pixels are a leaf, so that there is a graph even if all weights are frozen.
        vectors = network.encode_images(pixels.detach().requires_grad_())  # type: ignore[operator]
        cosines = F.cosine_similarity(vectors, wanted.to(vectors.dtype), dim=1)  # (P,)
        features = [states[0] for states in kept]
        gradients = torch.autograd.grad(cosines.sum(), features)
    total = torch.zeros(())
    for encoder, states, gradient in zip(encoders, features, gradients, strict=True):
        weights = feature_map_of(encoder, gradient).mean(dim=(2, 3), keepdim=True)  # (P, C, 1, 1), equation 1
        total = total.to(states) + (weights * feature_map_of(encoder, states)).sum(dim=1).detach()
    return total.clamp_min(0), cosines.detach()  # equation 2
