"""TCL: vision-language pre-training with triple contrastive learning.

Yang et al., 2022, arXiv 2202.10401. The loss is the mean of three contrastive terms, each for images and for
texts, plus two terms on a fusion encoder:

- CMA, cross-modal alignment: images against texts and back;
- IMC, intra-modal contrast: images against images, texts against texts;
- LMI, local mutual information: global features against patches and words;
- ITM, image-text matching; MLM, masked language modeling.

Without IMC and LMI it is ALBEF (Li 2021, arXiv 2107.07651), whose momentum distillation it keeps.

Dimensions: B batch, D shared space, E, F widths of the encoders, H masked tokens, K queue, L tokens, N
patches, V vocabulary.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows, own_rows, replica_share
from likewise.data.columns import Needs
from likewise.errors import ConfigError
from likewise.hardware import native_bfloat16
from likewise.mechanisms import EMAEncoder, KeyQueue
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Progress, Step
from likewise.methods.image_text.tcl.features import encode, pool_patches, unit
from likewise.methods.image_text.tcl.options import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    PRESETS,
    Config,
    build_network,
    momentum_and_queue_size,
)
from likewise.methods.image_text.tcl.pairs import draw_pairs, fuse
from likewise.networks.fusion import FusionNetwork
from likewise.objectives import (
    info_nce,
    information_bound,
    local_information,
    masked_language_loss,
    matching_loss,
    num_candidates,
)
from likewise.views import IGNORE_INDEX, mask_tokens, view_preset

__all__ = ["TCL", "Config"]

_Keys = dict[str, tuple[Tensor, Tensor]]  # by kind: (B + K, D) keys, the newest first, and (B + K,) groups
_Losses = dict[tuple[str, str], Tensor]  # by option (cma, imc, lmi) and kind


class TCL(Method):
    """Images and texts are embedded in one space and contrasted across the two kinds, within each kind, and
    as wholes with their parts, all against keys of an EMA encoder. A fusion encoder then reads the text while
    attending to the image: it judges whether the two match, on hard negatives, and predicts masked words.
    Retrieval ranks fast by the shared space, then exactly by the matching score.

    Choose it when: You have images with texts and want the best retrieval from a limited set, or a model that
    also scores pairs and shows where words look. A step costs about twice CLIP's; for zero-shot labels at
    large scale CLIP is simpler.
    """

    name = "tcl"
    title = "TCL"
    summary = "an image and its text are positives: across kinds, within each kind, as wholes and as parts"
    paper = "Yang 2022, arXiv 2202.10401; Li 2021, arXiv 2107.07651"
    needs = Needs("image", "text")
    options = Config
    # The paper's family with RandAugment, respecting captions: no flip if the caption names a side, no color
    # change if it names a color.
    view_families: ClassVar = {"views": lambda _: view_preset("tcl")}
    text_defaults: ClassVar = {"architecture": "bert", "dropout": 0.1}
    training_defaults: ClassVar = {
        "learning_rate": 3e-4,
        "weight_decay": 0.02,
        "warmup_share": 0.1,
        "final_share": 0.1,
    }
    presets = PRESETS
    no_grad_cache_reason = (
        "because its fusion encoder reads pairs that are chosen by the similarities of the whole batch"
    )
    monitored_embeddings = ("images", "texts")

    config: Config
    network: FusionNetwork
    alpha: Tensor
    _newest: tuple[Tensor, Tensor, Tensor]

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.tokenizer = context.tokenizer
        self.network = build_network(config, context)
        if config.mlm and (self.tokenizer is None or self.tokenizer.mask_id is None):
            raise ConfigError("--method.mlm: the tokenizer has no [MASK] token; set --method.mlm 0.")
        # DDP waits for a gradient of every weight that requires one.
        weights = {"match_head": config.itm, "language_head": config.mlm, "fusion": config.itm or config.mlm}
        for part, weight in weights.items():
            if not weight:
                self.network.get_submodule(part).requires_grad_(False)
        self.ema_encoder = EMAEncoder(self.network)
        self.ema_momentum, queue_size = momentum_and_queue_size(config, context)
        self.image_queue = KeyQueue(queue_size, config.embedding_dim)
        self.text_queue = KeyQueue(queue_size, config.embedding_dim)
        self.register_buffer("alpha", torch.zeros(()))

    @property
    def temperature(self) -> Tensor:
        """(), the learned temperature of all contrastive terms."""
        return self.network.temperature

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Features of the network and of the EMA encoder, logits of fused pairs and of masked tokens."""
        network, tokens, mask = self.network, batch.text.tokens, batch.text.mask
        first, second = self.views(batch, step, 2).chunk(2)  # (B, 3, S, S) each
        masked_tokens, labels = (
            self._mask_tokens(tokens, mask, batch, step) if self.config.mlm else (None, None)
        )
        image_states, text_states, masked_states = encode(network, first, tokens, masked_tokens, mask)
        found = {
            "images": network.image_projection(image_states[:, 0]),  # (B, D)
            "texts": network.text_projection(text_states[:, 0]),  # (B, D)
            "group": batch.group,
        }
        masked = None
        if labels is not None:
            # (H,) places among all tokens; logits at the others would be wasted.
            masked = (labels != IGNORE_INDEX).flatten().nonzero().squeeze(1)
        with self._ema_precision(second.device.type):
            found |= self._embed_by_ema(second, tokens, masked_tokens, mask, masked)
        pairs = None
        if self.config.itm:
            pairs = draw_pairs(
                image_states,
                text_states,
                found,
                batch,
                step.random,
                temperature=self.temperature,
                of_all_replicas=self.config.negatives == "all",
            )
        fused = fuse(network, image_states, mask, pairs=pairs, masked_states=masked_states)
        if pairs is not None:
            logits = network.match_head(fused.pairs)  # (3B, 2)
            matches = torch.arange(len(logits), device=logits.device) < len(mask)
            found |= {"match_logits": logits, "matches": torch.where(pairs.judged, matches, IGNORE_INDEX)}
        if labels is not None and masked is not None and fused.masked is not None:
            found["masked_labels"] = labels.flatten()[masked]  # (H,)
            found["token_logits"] = network.word_logits(fused.masked.flatten(0, 1)[masked])  # (H, V)
        return found

    def _mask_tokens(self, tokens: Tensor, mask: Tensor, batch: Batch, step: Step) -> tuple[Tensor, Tensor]:
        """Texts with masked tokens, and the tokens to predict; (B, L) each."""
        assert self.tokenizer is not None
        assert self.tokenizer.mask_id is not None
        return mask_tokens(
            tokens,
            mask,
            draw=step.random,
            index=batch.key,
            mask_id=self.tokenizer.mask_id,
            vocabulary_size=self.network.vocabulary_size,
            special_ids=self.tokenizer.special_ids,
            share=self.config.hidden_share,
        )

    @torch.no_grad()
    def _embed_by_ema(
        self,
        pixels: Tensor,
        tokens: Tensor,
        masked_tokens: Tensor | None,
        mask: Tensor,
        masked: Tensor | None,
    ) -> Embeddings:
        """The EMA encoder's global and local features, and its logits of the masked tokens."""
        network = self.ema_encoder.module
        assert isinstance(network, FusionNetwork)
        masked_tokens = masked_tokens if self.config.distillation else None
        image_states, text_states, masked_states = encode(network, pixels, tokens, masked_tokens, mask)
        found = {
            "ema_images": network.image_projection(image_states[:, 0]),  # (B, D)
            "ema_texts": network.text_projection(text_states[:, 0]),  # (B, D)
        }
        if self.config.lmi:
            patches = unit(network.image_projection(image_states[:, 1:]))  # (B, N, D)
            words = unit(network.text_projection(text_states[:, 1:]))  # (B, L - 1, D)
            found |= {"patches": pool_patches(patches), "words": words, "word_mask": mask[:, 1:]}
        if masked_states is not None and masked is not None:
            fused = network.fuse(masked_states, mask, image_states)
            found["ema_token_logits"] = network.word_logits(fused.flatten(0, 1)[masked])  # (H, V)
        return found

    def _ema_precision(self, device: str) -> AbstractContextManager[Any]:
        """The precision in which the EMA encoder computes."""
        if self.config.twin_precision == "auto" and native_bfloat16(device):
            return torch.autocast(device, torch.bfloat16)
        return nullcontext()

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """(weighted mean of the six contrastive losses) + ITM + MLM."""
        config, images = self.config, embeddings["images"]
        all_groups, own = gather_rows(embeddings["group"]), own_rows(embeddings["group"])
        keys = self._keys(embeddings, all_groups)
        losses = self._cma(embeddings, keys, own)
        if config.imc:
            losses |= self._imc(embeddings, keys, own)
        if config.lmi:
            losses |= self._lmi(embeddings, own, all_groups)
        weights = [getattr(config, option) for option, _ in losses]
        weighted = torch.stack([w * loss for w, loss in zip(weights, losses.values(), strict=True)])
        total = weighted.sum() / sum(weights)
        parts = {f"{option}_{kind}": loss for (option, kind), loss in losses.items()}
        parts |= self._bounds(embeddings, keys, own, all_groups, losses)
        if config.itm:
            matches = embeddings["matches"]
            count = replica_share((matches != IGNORE_INDEX).sum(), images)
            parts["itm"] = matching_loss(embeddings["match_logits"], matches, count=count)
            total = total + config.itm * parts["itm"]
        if config.mlm:
            labels = embeddings["masked_labels"]
            parts["mlm"] = masked_language_loss(
                embeddings["token_logits"],
                labels,
                teacher_logits=embeddings.get("ema_token_logits"),
                teacher_weight=self.alpha,
                count=replica_share(labels.new_full((), len(labels)), images),
            )
            total = total + config.mlm * parts["mlm"]
        # Copies: views would keep all keys, the queue's too, in memory until the next step.
        newest_images, newest_texts = (keys[kind][0][: len(all_groups)].clone() for kind in keys)
        self._newest = newest_images, newest_texts, all_groups
        logged = {name: part.detach() for name, part in parts.items()}
        return LossOutput(total, logged | {"temperature": self.temperature.detach()})

    def _cma(self, embeddings: Embeddings, keys: _Keys, own: Tensor) -> _Losses:
        """Images against the EMA encoder's texts and texts against its images, with targets that it
        softens."""
        losses = {}
        for kind, other in (("images", "texts"), ("texts", "images")):
            soft_targets: dict[str, Any] = {}
            if self.config.distillation:
                soft_targets = {
                    "target_queries": unit(embeddings[f"ema_{kind}"]),
                    "target_keys": keys[other][0],
                    "target_weight": self.alpha,
                }
            losses["cma", kind] = self._contrast(kind, keys[other], embeddings, own, **soft_targets)
        return losses

    def _imc(self, embeddings: Embeddings, keys: _Keys, own: Tensor) -> _Losses:
        """Images against the EMA encoder's images, texts against its texts."""
        return {("imc", kind): self._contrast(kind, keys[kind], embeddings, own) for kind in keys}

    def _contrast(
        self, kind: str, keys: tuple[Tensor, Tensor], embeddings: Embeddings, own: Tensor, **soft_targets: Any
    ) -> Tensor:
        """InfoNCE of this process's rows against keys, all of unit length."""
        return info_nce(
            unit(embeddings[kind]),
            keys[0],
            own,
            temperature=self.temperature,
            group_queries=embeddings["group"],
            group_keys=keys[1],
            same_group=self.config.same_group,
            normalize=False,
            **soft_targets,
        )

    def _lmi(self, embeddings: Embeddings, own: Tensor, all_groups: Tensor) -> _Losses:
        """Global features against the EMA encoder's local ones, of the own sample and of all others."""
        patches, words, word_mask = (embeddings[name] for name in ("patches", "words", "word_mask"))
        shared: dict[str, Any] = {
            "temperature": self.temperature,
            "rows": own,
            "groups": embeddings["group"],
            "all_groups": all_groups,
            # Means of pooled patches stay shorter than unit length, as in the published code.
            "normalize": False,
        }
        images = local_information(
            patches, unit(embeddings["images"]), all_local=gather_rows(patches), **shared
        )
        texts = local_information(
            words,
            unit(embeddings["texts"]),
            mask=word_mask,
            all_local=gather_rows(words, lengths_vary=True),
            all_mask=gather_rows(word_mask, lengths_vary=True),
            **shared,
        )
        return {("lmi", "images"): images, ("lmi", "texts"): texts}

    @torch.no_grad()
    def _bounds(
        self, embeddings: Embeddings, keys: _Keys, own: Tensor, all_groups: Tensor, losses: _Losses
    ) -> dict[str, Tensor]:
        """The lower bound on mutual information that each contrastive loss stands for, in nats."""
        group, bounds = embeddings["group"], {}
        for (option, kind), loss in losses.items():
            other = {"images": "texts", "texts": "images"}[kind] if option == "cma" else kind
            if option == "lmi":  # each local chooses among those of all other samples
                patches = embeddings["patches"]
                mask = embeddings["word_mask"] if kind == "texts" else patches.new_ones(patches.shape[:2])
                candidates = num_candidates(group, all_groups, gather_rows(mask.sum(dim=1)))
            else:
                left_out = group if self.config.same_group == "left_out" else None
                candidates = num_candidates(left_out, keys[other][1])
            if option == "cma" and self.config.distillation:  # the bound is that of one-hot targets
                loss = self._contrast(kind, keys[other], embeddings, own)
            bounds[f"{option}_{kind}_information"] = information_bound(loss, candidates)
        return bounds

    def _keys(self, embeddings: Embeddings, all_groups: Tensor) -> _Keys:
        """Keys of each kind, the batch's and then the queue's, and their groups."""
        queues = {"images": self.image_queue, "texts": self.text_queue}
        return {
            kind: (
                torch.cat([unit(gather_rows(embeddings[f"ema_{kind}"])), queue.keys]),  # (B + K, D)
                torch.cat([all_groups, queue.groups]),
            )
            for kind, queue in queues.items()
        }

    def reset_ema(self) -> None:
        """Copy the network."""
        self.ema_encoder.follow(self.network, 0.0)

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Push the newest keys; clamp the temperature; update the EMA encoder; raise alpha during the first
        epoch."""
        images, texts, groups = self._newest
        self.image_queue.push(images, groups)
        self.text_queue.push(texts, groups)
        self.network.log_temperature.clamp_(math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE))
        self.ema_encoder.follow(self.network, self.ema_momentum)
        self.alpha.fill_(self.config.distillation * min(1.0, progress.epoch))
