"""Regression of one view's features on the other's, without negatives.

Legend: B batch, D feature width.
"""

from __future__ import annotations

from torch import Tensor

from ._numerics import check_finite, check_pairs, objective, row_mean, unit_rows

__all__ = ["byol_loss", "simsiam_loss"]


@objective
def byol_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """2 - 2 cos(q, sg z'): squared distance of the unit vectors. One direction; the paper sums both.

    Args:
        predictions: (B, D) of the online network's predictor.
        targets: (B, D) of the target network's projector; gets no gradient.

    Returns:
        Scalar in [0, 4], mean over the rows.

    Reference:
        Grill et al. 2020, arXiv 2006.07733, eq. 2.
    """
    cosines = _cosines(predictions, targets)
    return row_mean(2 - 2 * cosines, cosines.dtype)


@objective
def simsiam_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """-cos(p, sg z). One direction; the paper takes the mean of both.

    Args:
        predictions: (B, D) of the predictor.
        targets: (B, D) of the projector, of the other view; gets no gradient.

    Returns:
        Scalar in [-1, 1], mean over the rows.

    Reference:
        Chen and He 2020, arXiv 2011.10566, eq. 1 and 3.
    """
    cosines = _cosines(predictions, targets)
    return row_mean(-cosines, cosines.dtype)


def _cosines(predictions: Tensor, targets: Tensor) -> Tensor:
    """(B,), no gradient to the targets."""
    check_pairs(predictions=predictions, targets=targets)
    check_finite(predictions=predictions, targets=targets)
    return (unit_rows(predictions) * unit_rows(targets.detach())).sum(1)
