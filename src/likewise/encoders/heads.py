"""Heads between an encoder's features and an objective.

Dimensions: B batch, D features, H hidden, P projection, M tokens, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likewise.encoders.pretrained import quiet_loading

__all__ = ["LanguageHead", "domain_discriminator", "linear_projection", "mlp_head", "mlp_projector"]


def linear_projection(dim: int, out_dim: int) -> nn.Linear:
    """CLIP's projection: one matrix without bias, deviation D^-1/2 (Radford 2021, 2103.00020)."""
    layer = nn.Linear(dim, out_dim, bias=False)
    nn.init.normal_(layer.weight, std=dim**-0.5)
    return layer


def mlp_projector(
    dim: int, hidden_dim: int, out_dim: int, *, num_layers: int = 2, scaled: bool = False
) -> nn.Sequential:
    """SimCLR's projector (Chen 2020, 2002.05709, section 4.2): linear, BatchNorm, ReLU, ..., linear,
    BatchNorm.

    There are no biases before a BatchNorm, which would remove them, and the last BatchNorm has no shift.

    Args:
        dim: D, width of the features.
        hidden_dim: H.
        out_dim: P.
        num_layers: linear layers, at least 2.
        scaled: the last BatchNorm learns a scale per dimension, as in SimCLR's released code; in SimSiam's
            and MoCo v3's it learns nothing.

    Returns:
        A module from (B, D) to (B, P).
    """
    layers: list[nn.Module] = []
    for _ in range(num_layers - 1):
        layers += [nn.Linear(dim, hidden_dim, bias=False), nn.BatchNorm1d(hidden_dim), nn.ReLU(inplace=True)]
        dim = hidden_dim
    last = nn.BatchNorm1d(out_dim, affine=scaled)
    last.register_parameter("bias", None)
    return nn.Sequential(*layers, nn.Linear(dim, out_dim, bias=False), last)


def mlp_head(dim: int, hidden_dim: int, out_dim: int, *, batch_norm: bool = True) -> nn.Sequential:
    """Linear, BatchNorm, ReLU, linear: projector and predictor of BYOL (Grill 2020, 2006.07733, section 3.3),
    predictor of SimSiam; without BatchNorm the projector of MoCo v2 (Chen 2020, 2003.04297).

    Args:
        dim: D, width of the input.
        hidden_dim: H.
        out_dim: P.
        batch_norm: with a BatchNorm.

    Returns:
        A module from (B, D) to (B, P).
    """
    norm = [nn.BatchNorm1d(hidden_dim)] if batch_norm else []
    first = nn.Linear(dim, hidden_dim, bias=not batch_norm)
    return nn.Sequential(first, *norm, nn.ReLU(inplace=True), nn.Linear(hidden_dim, out_dim))


def domain_discriminator(dim: int, hidden_dim: int) -> nn.Sequential:
    """Linear, ReLU, linear, ReLU, linear: the logit of "this is the target domain" (Ganin 2016, 1505.07818,
    figure 4).

    Args:
        dim: D, width of the input.
        hidden_dim: H.

    Returns:
        A module from (B, D) to (B, 1).
    """
    return nn.Sequential(
        nn.Linear(dim, hidden_dim),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_dim, hidden_dim),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_dim, 1),
    )


class LanguageHead(nn.Module):
    """BERT's masked-language-modeling head; the word embedding is its last layer (Devlin 2018, 1810.04805).

    Args:
        dim: D.
        vocabulary_size: V.
        eps: of its LayerNorm; BERT's is 1e-12, and PyTorch's default of 1e-5 gives other logits.
    """

    def __init__(self, dim: int, vocabulary_size: int, *, eps: float = 1e-12) -> None:
        super().__init__()
        self.transform = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def start_from(self, name: str) -> bool:
        """Take the weights of a pre-trained BERT's head, if it was stored with one.

        Args:
            name: a folder or hub name.

        Returns:
            Whether there was one of the same form; the head is unchanged otherwise.
        """
        from transformers import AutoConfig, BertForMaskedLM

        config = AutoConfig.from_pretrained(name)
        if config.model_type != "bert" or config.hidden_act != "gelu":
            return False
        with quiet_loading():
            whole, report = BertForMaskedLM.from_pretrained(
                name, dtype=torch.float32, output_loading_info=True
            )
        if any(key.startswith("cls.predictions") for key in report["missing_keys"]):
            return False
        theirs = whole.cls.predictions
        self.transform.load_state_dict(theirs.transform.dense.state_dict())
        self.norm.load_state_dict(theirs.transform.LayerNorm.state_dict())
        self.norm.eps = theirs.transform.LayerNorm.eps
        with torch.no_grad():
            self.bias.copy_(theirs.decoder.bias[: len(self.bias)])
        return True

    def forward(self, states: Tensor, word_embedding: Tensor) -> Tensor:
        """(M, D) states and the (V, D) embedding to (M, V) logits."""
        return F.linear(self.norm(F.gelu(self.transform(states))), word_embedding, self.bias)
