"""TCL: vision-language pre-training with triple contrastive learning.

Yang et al., 2022, arXiv 2202.10401. Pictures and texts are aligned across the two kinds (CMA), contrasted
within each kind (IMC), and their global features with local ones (LMI); a fusion encoder then judges whether
a picture and a text match (ITM) and finds hidden words (MLM). Without IMC and LMI it is ALBEF (Li 2021, arXiv
2107.07651), whose momentum distillation it keeps.

Dimensions: B batch, D shared space, E, F widths of the encoders, H hidden words, L tokens, N patches, K
queue, V words.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows, own_rows, replica_share
from likewise.data.columns import Needs
from likewise.errors import ConfigError
from likewise.hardware import native_bfloat16
from likewise.mechanisms import EMAEncoder, KeyQueue
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Progress, make_views
from likewise.methods.image_text.tcl.options import (
    COLDEST,
    PRESETS,
    WARMEST,
    Config,
    build_network,
    momentum_and_queue_size,
)
from likewise.methods.image_text.tcl.pairs import draw_pairs, fuse
from likewise.networks.fusion import FusionNetwork
from likewise.objectives import (
    info_nce,
    local_information,
    masked_language_loss,
    matching_loss,
)
from likewise.step_random import StepRandom
from likewise.views import IGNORE_INDEX, ViewConfig, mask_tokens, view_preset

__all__ = ["TCL", "Config"]

_Keys = dict[str, tuple[Tensor, Tensor]]  # of each kind: (B + K, D) keys, the newest first, (B + K,) groups
_Contrasts = dict[tuple[str, str], Tensor]  # losses by the name of their weight and by kind


class TCL(Method):
    """Image, text and fusion encoder, their momentum twins, and two queues."""

    name = "tcl"
    title = "TCL"
    summary = "a picture and its text belong together, across kinds, within each, as wholes and as parts"
    paper = "Yang 2022, arXiv 2202.10401; Li 2021, arXiv 2107.07651"
    idea = (
        "Pictures and texts meet in one space, contrasted across the two kinds and within each, and "
        "wholes with their parts, all against what slow twins say. A fusion encoder then reads the text "
        "while looking at the picture: it judges whether the two match, on negatives that look alike, and "
        "finds hidden words. Ranking is fast by the space and exact by the judge."
    )
    choose_when = (
        "You have pictures with texts and want the best retrieval from a limited set, or a model that "
        "also judges pairs and shows where words look. A step costs about twice CLIP's; for zero-shot "
        "labels at great scale CLIP is simpler."
    )
    needs = Needs("image", "text")
    options = Config
    text_defaults: ClassVar[dict[str, Any]] = {"architecture": "bert", "dropout": 0.1}
    training_defaults: ClassVar[dict[str, Any]] = {
        "learning_rate": 3e-4,
        "weight_decay": 0.02,
        "warmup_share": 0.1,
        "final_share": 0.1,
    }
    presets = PRESETS
    no_grad_cache_reason = (
        "for the pairs that its fusion encoder judges are chosen by the similarities of the whole batch"
    )

    compared = ("images", "texts")

    network: FusionNetwork
    alpha: Tensor
    _newest: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def default_views(cls, image_size: int) -> ViewConfig:
        """The paper's family with RandAugment, respecting captions: no flip where one names a side, nor new
        colours where one names a colour."""
        del image_size
        return view_preset("tcl")

    def __init__(self, config: Config, ingredients: BuildContext) -> None:
        super().__init__()
        self.config = config
        self.view_config = ingredients.views
        self.words = ingredients.words
        self.network = build_network(config, ingredients)
        if config.mlm and (self.words is None or self.words.mask_id is None):
            raise ConfigError("method.mlm: the tokenizer has no [MASK] token; set --method.mlm 0.")
        # DDP waits for the gradient of all that has one.
        read = {"match_head": config.itm, "language_head": config.mlm, "fusion": config.itm or config.mlm}
        for part, weight in read.items():
            if not weight:
                self.network.get_submodule(part).requires_grad_(False)
        self.twin = EMAEncoder(self.network)
        self.ema_momentum, size = momentum_and_queue_size(config, ingredients)
        self.image_queue = KeyQueue(size, config.embedding_dim)
        self.text_queue = KeyQueue(size, config.embedding_dim)
        self.register_buffer("alpha", torch.zeros(()))

    @property
    def temperature(self) -> Tensor:
        """0-d, what all comparisons are divided by; learned."""
        return self.network.temperature

    # -- the networks

    def embed(self, batch: Batch, draw: StepRandom) -> Embeddings:
        """All that is compared, and the logits of fused pairs and of hidden words."""
        assert batch.tokens is not None
        assert batch.mask is not None
        assert batch.group is not None
        first, second = make_views(batch, draw, self.network.image, self.view_config).chunk(2)
        asked, words = self._hide_words(batch, draw) if self.config.mlm else (None, None)
        image_states, text_states, asked_states = _encode(
            self.network, first, batch.tokens, asked, batch.mask
        )
        found = {
            "images": self.network.image_projection(image_states[:, 0]),  # (B, D)
            "texts": self.network.text_projection(text_states[:, 0]),  # (B, D)
            "group": batch.group,
        }
        pairs = None
        if self.config.itm:
            pairs = draw_pairs(
                image_states,
                text_states,
                found["images"],
                found["texts"],
                batch,
                draw,
                temperature=self.temperature,
                of_all_replicas=self.config.negatives == "all",
            )
        fused = fuse(self.network, image_states, batch.mask, pairs=pairs, asked_states=asked_states)
        if pairs is not None:
            logits = self.network.match_head(fused.pairs)  # (3B, 2)
            matches = torch.arange(len(logits), device=logits.device) < len(batch.mask)
            found |= {"match_logits": logits, "matches": torch.where(pairs.judged, matches, IGNORE_INDEX)}
        hidden = None
        if words is not None and fused.asked is not None:
            # (H,) places among all words; at all others logits would be computed for nothing.
            hidden = (words != IGNORE_INDEX).flatten().nonzero().squeeze(1)
            found["hidden_words"] = words.flatten()[hidden]  # (H,)
            found["word_logits"] = self.network.word_logits(fused.asked.flatten(0, 1)[hidden])  # (H, V)
        with self._lowered(second.device.type):
            self._embed_by_twin(second, batch.tokens, asked, batch.mask, hidden, found)
        return found

    def _hide_words(self, batch: Batch, draw: StepRandom) -> tuple[Tensor, Tensor]:
        """Texts with words hidden, and what was there; (B, L) each."""
        assert batch.tokens is not None
        assert batch.mask is not None
        assert self.words is not None
        assert self.words.mask_id is not None
        return mask_tokens(
            batch.tokens,
            batch.mask,
            draw=draw,
            index=batch.key,
            mask_id=self.words.mask_id,
            vocabulary_size=self.network.vocabulary_size,
            special_ids=self.words.special_ids,
            share=self.config.hidden_share,
        )

    @torch.no_grad()
    def _embed_by_twin(
        self,
        pixels: Tensor,
        tokens: Tensor,
        asked: Tensor | None,
        mask: Tensor,
        hidden: Tensor | None,
        found: Embeddings,
    ) -> None:
        """The twin's global and local features, and what it thinks of the hidden words."""
        twin = self._twin()
        asked = asked if self.config.distillation else None
        image_states, text_states, asked_states = _encode(twin, pixels, tokens, asked, mask)
        found["twin_images"] = twin.image_projection(image_states[:, 0])  # (B, D)
        found["twin_texts"] = twin.text_projection(text_states[:, 0])  # (B, D)
        if self.config.lmi:
            patches = _unit(twin.image_projection(image_states[:, 1:]))
            own = _unit(twin.text_projection(text_states[:, 1:]))
            found |= {"patches": _pool_patches(patches), "words": own, "word_mask": mask[:, 1:]}
        if asked_states is not None and hidden is not None:
            fused = twin.fuse(asked_states, mask, image_states)
            found["twin_word_logits"] = twin.word_logits(fused.flatten(0, 1)[hidden])

    def _lowered(self, device: str) -> AbstractContextManager[Any]:
        """The precision that the twin computes in."""
        if self.config.twin_precision == "auto" and native_bfloat16(device):
            return torch.autocast(device, torch.bfloat16)
        return nullcontext()

    def _twin(self) -> FusionNetwork:
        twin = self.twin.module
        assert isinstance(twin, FusionNetwork)
        return twin

    # -- the objective

    def objective(self, embeddings: Embeddings) -> LossOutput:
        """(mean of the six contrastive parts) + ITM + MLM."""
        config = self.config
        all_groups, own = gather_rows(embeddings["group"]), own_rows(embeddings["group"])
        keys = self._keys(embeddings, all_groups)
        contrasts = self._across(embeddings, keys, own)
        if config.imc:
            contrasts |= self._within(embeddings, keys, own)
        if config.lmi:
            contrasts |= self._with_parts(embeddings, own, all_groups)
        weights = [getattr(config, part) for part, _ in contrasts]
        weighed = torch.stack([w * loss for w, loss in zip(weights, contrasts.values(), strict=True)])
        total = weighed.sum() / sum(weights)
        parts = {f"{part}_{kind}": loss for (part, kind), loss in contrasts.items()}
        rows = embeddings["images"]
        if config.itm:
            matches = embeddings["matches"]
            count = replica_share((matches != IGNORE_INDEX).sum(), rows)
            parts["itm"] = matching_loss(embeddings["match_logits"], matches, count=count)
            total = total + config.itm * parts["itm"]
        if config.mlm:
            words = embeddings["hidden_words"]
            parts["mlm"] = masked_language_loss(
                embeddings["word_logits"],
                words,
                teacher_logits=embeddings.get("twin_word_logits"),
                teacher_weight=self.alpha,
                count=replica_share(words.new_full((), len(words)), rows),
            )
            total = total + config.mlm * parts["mlm"]
        images, texts = (keys[kind][0][: len(all_groups)] for kind in ("images", "texts"))
        # Copies: views would keep the whole of the keys, a queue's too, until the next step.
        self._newest = images.clone(), texts.clone(), all_groups
        shown = {name: part.detach() for name, part in parts.items()}
        return LossOutput(total, shown | {"temperature": self.temperature.detach()})

    def _across(self, embeddings: Embeddings, keys: _Keys, own: Tensor) -> _Contrasts:
        """CMA: each picture against the text twin's keys and each text against the image twin's, with targets
        that the twins soften."""
        losses = {}
        for kind, other in (("images", "texts"), ("texts", "images")):
            softened: dict[str, Any] = {}
            if self.config.distillation:
                softened = {
                    "target_queries": _unit(embeddings[f"twin_{kind}"]),
                    "target_keys": keys[other][0],
                    "target_weight": self.alpha,
                }
            losses["cma", kind] = self._compare(
                embeddings[kind], keys[other], own, embeddings["group"], **softened
            )
        return losses

    def _within(self, embeddings: Embeddings, keys: _Keys, own: Tensor) -> _Contrasts:
        """IMC: each picture against the image twin's keys, each text against the text twin's."""
        return {
            ("imc", kind): self._compare(embeddings[kind], keys[kind], own, embeddings["group"])
            for kind in ("images", "texts")
        }

    def _with_parts(self, embeddings: Embeddings, own: Tensor, all_groups: Tensor) -> _Contrasts:
        """LMI: each global feature against the twin's local ones of its own sample and of all others."""
        patches, words, word_mask = (embeddings[name] for name in ("patches", "words", "word_mask"))
        shared: dict[str, Any] = {
            "temperature": self.temperature,
            "rows": own,
            "groups": embeddings["group"],
            "all_groups": all_groups,
            # Means over unlike patches stay shorter than unit length, as in the published code.
            "normalize": False,
        }
        images = local_information(
            patches, _unit(embeddings["images"]), all_local=gather_rows(patches), **shared
        )
        texts = local_information(
            words,
            _unit(embeddings["texts"]),
            mask=word_mask,
            all_local=gather_rows(words, lengths_vary=True),
            all_mask=gather_rows(word_mask, lengths_vary=True),
            **shared,
        )
        return {("lmi", "images"): images, ("lmi", "texts"): texts}

    def _keys(self, embeddings: Embeddings, all_groups: Tensor) -> _Keys:
        """Keys of each kind, the batch's and then the queue's, and their groups."""
        queues = {"images": self.image_queue, "texts": self.text_queue}
        return {
            kind: (
                torch.cat([_unit(gather_rows(embeddings[f"twin_{kind}"])), queue.keys]),  # (B + K, D)
                torch.cat([all_groups, queue.groups]),
            )
            for kind, queue in queues.items()
        }

    def _compare(
        self, rows: Tensor, keys: tuple[Tensor, Tensor], own: Tensor, group: Tensor, **targets: Any
    ) -> Tensor:
        """InfoNCE of this replica's rows against keys, all of unit length."""
        return info_nce(
            _unit(rows),
            keys[0],
            own,
            temperature=self.temperature,
            group_queries=group,
            group_keys=keys[1],
            same_group=self.config.same_group,
            normalize=False,
            **targets,
        )

    def copy_to_twins(self) -> None:
        """The twin is the network again."""
        self.twin.follow(self.network, 0.0)

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Queues take the twins' newest keys; the temperature stays within its bounds; the twins follow."""
        images, texts, groups = self._newest
        self.image_queue.push(images, groups)
        self.text_queue.push(texts, groups)
        self.network.log_temperature.clamp_(math.log(COLDEST), math.log(WARMEST))
        self.twin.follow(self.network, self.ema_momentum)
        self.alpha.fill_(self.config.distillation * min(1.0, progress.epoch))


def _unit(rows: Tensor) -> Tensor:
    return F.normalize(rows if rows.dtype == torch.float64 else rows.float(), dim=-1)


def _encode(
    network: FusionNetwork, pixels: Tensor, tokens: Tensor, asked: Tensor | None, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """States of pictures (B, 1 + N, E), of texts (B, L, F), and of the same texts with words hidden."""
    image_states = network.image_states(pixels)
    if asked is None:
        return image_states, network.text_states(tokens, mask), None
    both = network.text_states(torch.cat([tokens, asked]), torch.cat([mask, mask]))
    return image_states, *both.chunk(2)  # type: ignore[return-value]


def _pool_patches(patches: Tensor) -> Tensor:
    """(B, g g, D) patches to (B, c c, D) means of regions, c = floor(sqrt(g)); any grid works."""
    B, N, D = patches.shape
    side = math.isqrt(N)
    assert side * side == N, "square pictures have square grids"
    grid = patches.transpose(1, 2).reshape(B, D, side, side)
    pooled: Tensor = F.adaptive_avg_pool2d(grid, math.isqrt(side))
    return pooled.flatten(2).transpose(1, 2)
