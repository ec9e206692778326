"""Objectives: pure functions of tensors, exact, with memory linear in the batch.

They compute in float32 or better for any input dtype and return a scalar. Wrong shapes raise `ValueError`;
inside `checked_inputs()` an inf or a NaN does too. For several processes see `likewise.collectives`.
"""

from ._numerics import checked_inputs
from .contrastive import hard_negative_info_nce, info_nce, moco_loss
from .domains import (
    coral,
    cross_view_consistency,
    gradient_reversal,
    mean_difference,
    mmd,
    reversal_strength,
)
from .information import alignment, information_bound, local_information, num_candidates, uniformity
from .language import classification_loss, masked_language_loss, matching_loss, sequence_losses
from .logistic import nce, nce_log_normalizer, sigmoid_loss
from .metric import pair_loss, siamese_loss, triplet_loss
from .negatives import draw_hard_negatives
from .regression import byol_loss, simsiam_loss
from .supervised import supervised_contrastive
from .symmetric import clip_loss, nt_xent

__all__ = [
    # contrastive
    "info_nce",
    "hard_negative_info_nce",
    "clip_loss",
    "nt_xent",
    "moco_loss",
    "sigmoid_loss",
    "supervised_contrastive",
    "nce",
    "nce_log_normalizer",
    "draw_hard_negatives",
    # metric
    "pair_loss",
    "siamese_loss",
    "triplet_loss",
    # regression
    "byol_loss",
    "simsiam_loss",
    # information
    "local_information",
    "information_bound",
    "num_candidates",
    "alignment",
    "uniformity",
    # language
    "classification_loss",
    "matching_loss",
    "masked_language_loss",
    "sequence_losses",
    # domains
    "mmd",
    "coral",
    "mean_difference",
    "gradient_reversal",
    "reversal_strength",
    "cross_view_consistency",
    # checks
    "checked_inputs",
]
