"""SimCSE: sentence embeddings by contrast.

Gao, Yao and Chen 2021, arXiv 2104.08821: unsupervised (equation 4), supervised with hard negatives (equation
5 and appendix B), the auxiliary masked-language term (appendix C).

Dimensions: B batch, L tokens, D width of the embedding, P texts of a row, N masked tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likewise.batches.batch import Batch, TokenBatch
from likewise.collectives import gather_rows, own_rows, replica_share
from likewise.data.columns import COMPLETE, OPTIONAL, Needs
from likewise.encoders.heads import LanguageHead
from likewise.errors import ConfigError, DataError
from likewise.messages import flag
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Step
from likewise.methods.checks import check_above_zero
from likewise.networks.text import TextNetwork
from likewise.objectives import hard_negative_info_nce
from likewise.views import IGNORE_INDEX, mask_tokens

__all__ = ["Config", "SimCSE"]

_DROPOUT = 0.1  # BERT's, which the paper found best (table 2)
_MASKED_SHARE = 0.15


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of SimCSE."""

    temperature: float = 0.05
    """Divides the cosine similarities."""

    hard_negative_weight: float = 1.0
    """Weight of a row's own hard negative (`text_3`) among the negatives; above 0."""

    mlp: bool | None = None
    """Compare the output of a linear layer and tanh, which is discarded after training. By default where the
    encoder is pooled at [CLS], as in the paper."""

    dropout: float | None = None
    """Dropout in the text encoder while training, in [0, 1): two masks of it make two views of a sentence. By
    default the encoder's own, or 0.1 where it has none."""

    mlm_weight: float = 0.0
    """Weight of a masked-language term on the first text of each row; 0 leaves it out."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_above_zero(self, "temperature", "hard_negative_weight")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ConfigError(f"--method.dropout is {self.dropout}; expected a probability in [0, 1).")
        if self.mlm_weight < 0:
            raise ConfigError(
                f"{flag('method', 'mlm_weight')} is {self.mlm_weight}; it must not be negative."
            )


class SimCSE(Method):
    """Two texts that mean the same are positives, all other texts of the batch negatives. The two are a pair
    or triplet of the data (`text`, `text_2`, and `text_3` as a hard negative: premise, entailment,
    contradiction), or two texts of one group (captions of one photo, paraphrases), or else the same sentence
    twice, under two dropout masks.

    Choose it when: You want embeddings of sentences: for search, deduplication, clustering or similarity of
    texts. Start from a pre-trained encoder (`--text.pretrained`, with `--preset pretrained`) wherever you
    can. Pairs or triplets teach more than dropout; without either, plain sentences of your own field are
    enough.
    """

    name = "simcse"
    title = "SimCSE"
    summary = "texts that mean the same are positives: pairs, groups, or one sentence under two dropout masks"
    paper = "Gao 2021, arXiv 2104.08821"
    needs = Needs("text", text_2=COMPLETE, text_3=COMPLETE, group=OPTIONAL, score=OPTIONAL)
    pairs_texts = True
    options = Config
    text_defaults: ClassVar = {"architecture": "bert", "dropout": _DROPOUT}
    training_defaults: ClassVar = {"learning_rate": 5e-4, "weight_decay": 0.01, "epochs": 5.0}
    presets: ClassVar = {
        # The paper's rate for supervised training of BERT-base; no weight decay.
        "pretrained": {
            "training": {"learning_rate": 5e-5, "weight_decay": 0.0, "epochs": 1.0, "batch_size": 128}
        },
    }

    config: Config
    network: TextNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        encoder = context.text_encoder()
        if config.dropout is not None or encoder.dropout == 0:
            encoder.set_dropout(_DROPOUT if config.dropout is None else config.dropout)
        self.network = TextNetwork(encoder)
        has_mlp = encoder.pooling == "first" if config.mlp is None else config.mlp
        width = encoder.dim
        self.projector = nn.Sequential(nn.Linear(width, width), nn.Tanh()) if has_mlp else nn.Identity()
        self.language_head: LanguageHead | None = None
        if config.mlm_weight > 0:
            assert context.tokenizer is not None
            if context.tokenizer.mask_id is None:
                raise ConfigError("--method.mlm-weight: the tokenizer has no [MASK] token; leave it out.")
            self.tokenizer = context.tokenizer
            self.language_head = LanguageHead(encoder.dim, context.tokenizer.vocabulary_size)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """All texts of the rows in one forward pass: each draws a dropout mask of its own."""
        if "score" in batch:
            raise DataError(
                "these pairs have a score, and simcse takes every pair for a positive. To learn from them, "
                "keep those that mean the same and leave the column out; to measure on them, name them with "
                "--data.validation."
            )
        names = ["first", "second", "negative"]
        texts = [batch.text, batch.text_2 if "text_2" in batch else batch.text]
        if "text_3" in batch:
            texts.append(batch.text_3)
        if self.language_head is None:
            vectors = self.network.encode_texts(*_stacked(texts))  # (P B, D)
            language = {}
        else:
            tokens, labels = self._masked(batch, step)
            features = self.network.text(*_stacked([*texts, TokenBatch(tokens, batch.text.mask)]))
            count = len(batch)
            vectors = features.pooled[:-count]
            language = self._language_loss(features.tokens[-count:, : labels.shape[1]], labels)
        parts = self.projector(vectors).chunk(len(texts))  # (B, D) each
        return dict(zip(names, parts, strict=False)) | {"group": batch.group} | language

    def _masked(self, batch: Batch, step: Step) -> tuple[Tensor, Tensor]:
        """(B, L) tokens, some masked, and (B, L) labels."""
        assert self.tokenizer.mask_id is not None
        return mask_tokens(
            batch.text.tokens,
            batch.text.mask,
            draw=step.random,
            index=batch.key,
            mask_id=self.tokenizer.mask_id,
            vocabulary_size=self.tokenizer.vocabulary_size,
            special_ids=self.tokenizer.special_ids,
            share=_MASKED_SHARE,
        )

    def _language_loss(self, states: Tensor, labels: Tensor) -> Embeddings:
        """Of (B, L, D) states: the cross-entropy of each row, summed over its masked tokens; their number."""
        assert self.language_head is not None
        rows, places = (labels != IGNORE_INDEX).nonzero(as_tuple=True)  # (N,) each
        words: Tensor = self.network.text.backbone.get_input_embeddings().weight
        logits = self.language_head(states[rows, places], words[: self.tokenizer.vocabulary_size])  # (N, V)
        losses = F.cross_entropy(logits.float(), labels[rows, places], reduction="none")
        summed = losses.new_zeros(len(labels)).index_add(0, rows, losses)
        return {"language_loss": summed, "num_masked": (labels != IGNORE_INDEX).sum(dim=1)}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Equation 4 or 5: each first text against the second texts, and hard negatives, of all processes.

        Rows of one group are never negatives of each other; hard negatives always are.
        """
        first, second, group = (embeddings[name] for name in ("first", "second", "group"))
        negative = embeddings.get("negative")
        total = hard_negative_info_nce(
            first,
            gather_rows(second),
            None if negative is None else gather_rows(negative),
            rows=own_rows(first),
            temperature=self.config.temperature,
            weight=self.config.hard_negative_weight,
            groups=group,
            all_groups=gather_rows(group),
        )
        parts = {"info_nce": total.detach()}
        if "language_loss" in embeddings:
            losses = embeddings["language_loss"]
            language = losses.sum() / replica_share(embeddings["num_masked"].sum(), losses)
            parts["language_loss"] = language.detach()
            total = total + self.config.mlm_weight * language
        return LossOutput(total, parts)


def _stacked(texts: list[TokenBatch]) -> tuple[Tensor, Tensor]:
    """(P B, L) tokens and mask of P texts a row, padded to the longest of all."""
    longest = max(text.tokens.shape[1] for text in texts)
    tokens, masks = (
        [F.pad(part, (0, longest - part.shape[1])) for part in parts]
        for parts in ([text.tokens for text in texts], [text.mask for text in texts])
    )
    return torch.cat(tokens), torch.cat(masks)
