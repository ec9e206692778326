"""Captioning: an image encoder and a decoder, trained by teacher forcing.

Vinyals et al. 2014, arXiv 1411.4555: the pooled feature starts an LSTM. Xu et al. 2015, arXiv 1502.03044:
soft attention over the image's tokens at every step, and the doubly stochastic regulariser of equation 14.
Transformer decoders attend to the image's tokens as in Vaswani et al. 2017, arXiv 1706.03762.

Dimensions: B batch, S side in pixels, N image tokens, L tokens of a caption, V vocabulary,
K captions of an image (`captions_per_image`), R = B K rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.collectives import replica_share
from likewise.data.columns import Needs
from likewise.encoders.decoders import Decoder, DecoderConfig
from likewise.errors import ConfigError
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Phase, Step
from likewise.methods.checks import check_counts, check_shares
from likewise.networks.captioner import CaptionNetwork
from likewise.views import view_preset

__all__ = ["Captioning", "Config"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of captioning."""

    decoder: Literal["transformer", "lstm", "gru", "rnn"] = "transformer"
    """Family of the decoder."""

    decoder_width: int = 192
    """Width of the decoder and of its token embedding."""

    decoder_depth: int | None = None
    """Layers of a transformer decoder; 2 by default. Recurrent decoders have one."""

    attention: bool = True
    """Recurrent decoders: soft attention over the image's tokens at every step (Xu 2015). Without it the
    pooled feature starts the state (Vinyals 2014)."""

    dropout: float = 0.1
    """Dropout in the decoder, in [0, 1)."""

    tie_weights: bool = True
    """Use the token embedding as the output layer too."""

    label_smoothing: float = 0.1
    """Share of the target that is spread over all tokens, in [0, 1]."""

    attention_penalty: float = 1.0
    """Weight of Xu's doubly stochastic regulariser, which asks a recurrent decoder to look at every part of
    the image; no effect without soft attention."""

    captions_per_image: int = 1
    """Captions of an image that each step reads, where it has so many. The image encoder runs once for all
    of them."""

    frozen_share: float = 0.0
    """Share of the training in which the image encoder is frozen, from the start; 1 never trains it."""

    def __post_init__(self) -> None:
        """Check every value that can be checked here."""
        check_counts(self, "decoder_width", "decoder_depth", "captions_per_image")
        check_shares(self, "label_smoothing", "frozen_share")
        if self.attention_penalty < 0:
            raise ConfigError(
                f"--method.attention-penalty is {self.attention_penalty}; it must not be negative."
            )
        self.decoder_config()

    def decoder_config(self) -> DecoderConfig:
        """The options as the decoder takes them."""
        return DecoderConfig(
            architecture=self.decoder,
            width=self.decoder_width,
            depth=self.decoder_depth,
            attention=self.attention,
            dropout=self.dropout,
            tie_weights=self.tie_weights,
        )


class Captioning(Method):
    """An image encoder turns an image into tokens, and a decoder writes a caption from them, one token after
    the other. In training it sees the true tokens so far and predicts the next one.

    Choose it when: You have images with captions and want sentences for new images. Start from a trained
    image encoder (`--training.start-from`, any method's run) if you have one: it helps more than a larger
    decoder.
    """

    name = "captioning"
    title = "Captioning"
    summary = "a decoder writes an image's caption, token by token"
    paper = "Vinyals 2014, arXiv 1411.4555; Xu 2015, arXiv 1502.03044"
    needs = Needs("image", "text")
    options = Config
    # A mild crop only; every view respects its caption.
    view_families: ClassVar = {"views": lambda _: view_preset("clip")}
    # The decoder reads the tokens: there is no text encoder.
    unread_options: ClassVar = {
        "text": ("architecture", "preset", "pretrained", "width", "depth", "heads", "dropout")
    }
    training_defaults: ClassVar = {
        "learning_rate": 5e-4,
        "weight_decay": 0.05,
        "betas": (0.9, 0.98),
        "warmup_share": 0.1,
    }
    presets: ClassVar = {
        # Minutes on two cores: a narrow ResNet learns such images much sooner than a ViT from nothing.
        "tiny": {
            "image": {"architecture": "resnet", "width": 24, "image_size": 64},
            "method": {"decoder_width": 192},
            "training": {"learning_rate": 1e-3, "batch_size": 64},
        },
        "small": {"image": {"preset": "small"}, "method": {"decoder_width": 384, "decoder_depth": 4}},
        "base": {"image": {"preset": "base"}, "method": {"decoder_width": 768, "decoder_depth": 6}},
    }

    config: Config
    network: CaptionNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        image = context.image_encoder()
        assert context.text is not None
        assert context.tokenizer is not None
        decoder = Decoder.build(
            config.decoder_config(),
            memory_dim=image.dim,
            vocabulary_size=context.tokenizer.vocabulary_size,
            max_tokens=context.text.max_tokens,
        )
        self.network = CaptionNetwork(image, decoder)
        self.texts_per_row = config.captions_per_image
        if config.frozen_share > 0:
            stop = config.frozen_share
            self.phases = (Phase("frozen", ("network.decoder",), stop=stop), Phase("whole", start=stop))

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Loss of each image's captions, summed over their tokens after the first, and how many these are."""
        self.network.image.train(self.training and step.phase != "frozen")  # BatchNorm's statistics too
        memory = self.network.image_memory(self.views(batch, step)).repeat(self.texts_per_row)
        tokens, mask = (value.view(len(memory.tokens), -1) for value in (batch.text.tokens, batch.text.mask))
        penalized = self.config.attention_penalty > 0 and self.config.decoder != "transformer"
        output = self.network.decoder(tokens[:, :-1], memory, with_attention=penalized)  # (R, L - 1, D)
        real = mask[:, 1:]  # (R, L - 1)
        losses = F.cross_entropy(
            self.network.decoder.logits(output.states[real]).float(),
            tokens[:, 1:][real],
            reduction="none",
            label_smoothing=self.config.label_smoothing,
        )  # (real tokens,)
        by_image = (len(batch), -1)
        found = {
            "loss": losses.new_zeros(real.shape)
            .masked_scatter(real, losses)
            .view(by_image)
            .sum(dim=1),  # (B,)
            "num_tokens": real.reshape(by_image).sum(dim=1),  # (B,)
        }
        if output.attention is not None:
            seen = (output.attention * real[..., None]).sum(dim=1)  # (R, N), about 1 where all is looked at
            present = real.any(dim=1)  # (R,)
            uneven = (1 - seen).square().mean(dim=1) * present
            found["unevenness"] = uneven.view(by_image).sum(dim=1)  # (B,)
            found["num_captions"] = present.view(by_image).sum(dim=1)  # (B,)
        return found

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Mean over the tokens of all processes, and Xu's equation 14.

        The paper sums over cells; here it is their mean, as a sum outweighs the rest on large grids.
        """
        losses = embeddings["loss"]
        total = losses.sum() / replica_share(embeddings["num_tokens"].sum(), losses)
        parts = {"cross_entropy": total.detach()}
        if "unevenness" in embeddings:
            uneven = embeddings["unevenness"]
            unevenness = uneven.sum() / replica_share(embeddings["num_captions"].sum(), uneven)
            parts["attention_unevenness"] = unevenness.detach()
            total = total + self.config.attention_penalty * unevenness
        return LossOutput(total, parts)
