"""The contenders of captioning_speed.py: each pair has the same sizes, weights and logits."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch
from captioning_weights import weights_to_transformers, weights_to_tutorial
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from tutorial_captioner import TutorialCaptioner, captions_by_prefix

from likewise.encoders import ImageEncoderConfig, TextEncoderConfig
from likewise.encoders.decoders import Decoding, Memory, generate
from likewise.methods.base import BuildContext, Progress, Step, TokenizerInfo
from likewise.methods.image_text.captioning import Captioning, Config
from likewise.step_random import StepRandom

BEGIN, END = 1, 2
STEP = Step(StepRandom(0, 0), Progress(0, 10))


@dataclass(frozen=True, kw_only=True)
class Options:
    """Sizes and how much to measure."""

    width: int = 192
    """Of encoder and decoder."""
    encoder_depth: int = 6
    decoder_depth: int = 2
    """Of the Transformer decoder."""
    image_size: int = 96
    patch_size: int = 12
    vocabulary_size: int = 4096
    batch_size: int = 64
    """Images of a training step."""
    caption_images: int = 32
    """Images that captions are generated of at a time."""
    num_beams: int = 5
    num_tokens: int = 20
    steps: int = 3
    """Training steps of a turn."""
    rounds: int = 5
    """Turns."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of both sides; bfloat16 is mixed precision (autocast)."""

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """What forward passes run in."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16")


def our_method(options: Options, decoder: str) -> Captioning:
    """Our captioner, without label smoothing and attention penalty."""
    method = Captioning(
        Config(
            decoder=decoder,  # type: ignore[arg-type]
            decoder_width=options.width,
            decoder_depth=options.decoder_depth if decoder == "transformer" else None,
            label_smoothing=0.0,
            attention_penalty=0.0,
        ),
        BuildContext(
            image=ImageEncoderConfig(
                width=options.width,
                depth=options.encoder_depth,
                image_size=options.image_size,
                patch_size=options.patch_size,
            ),
            text=TextEncoderConfig(),
            tokenizer=TokenizerInfo(options.vocabulary_size, None, ()),
        ),
    )
    method.views = lambda batch, step, *_, **__: batch.pixels  # type: ignore[method-assign]
    return method


def transformers_model(options: Options) -> Any:
    """VisionEncoderDecoderModel with a ViT and a GPT-2 of the same sizes."""
    from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig

    heads = max(1, options.width // 64)
    encoder = ViTConfig(
        hidden_size=options.width,
        num_hidden_layers=options.encoder_depth,
        num_attention_heads=heads,
        intermediate_size=4 * options.width,
        image_size=options.image_size,
        patch_size=options.patch_size,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    decoder = GPT2Config(
        n_embd=options.width,
        n_layer=options.decoder_depth,
        n_head=heads,
        n_positions=77,
        vocab_size=options.vocabulary_size,
        activation_function="gelu",
        add_cross_attention=True,
        attn_pdrop=0.0,  # ours drops embeddings and the outputs of parts
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = BEGIN, 0, None
    return VisionEncoderDecoderModel(config=config)


@dataclass(frozen=True)
class RandomBatch:
    """B rows: (B, 3, S, S) pixels, (B, N, E) image tokens, and captions."""

    pixels: Tensor
    memory: Tensor
    text: SimpleNamespace

    def __len__(self) -> int:
        return len(self.pixels)


def random_batch(options: Options, seed: int = 0) -> Any:
    """Pixels, image tokens (for decoders alone) and captions of a step."""
    draw = torch.Generator().manual_seed(seed)
    size = options.image_size
    lengths = torch.randint(4, 26, (options.batch_size,), generator=draw)
    longest = int(lengths.max()) + 2
    tokens = torch.randint(3, options.vocabulary_size, (options.batch_size, longest), generator=draw)
    mask = torch.arange(longest) < lengths[:, None] + 2
    tokens[:, 0] = BEGIN
    tokens[~mask] = 0
    tokens[torch.arange(options.batch_size), lengths + 1] = END
    cells = (size // options.patch_size) ** 2
    return RandomBatch(
        pixels=torch.randn(options.batch_size, 3, size, size, generator=draw),
        memory=torch.randn(options.batch_size, cells, options.width, generator=draw),
        text=SimpleNamespace(tokens=tokens, mask=mask),
    )


class Side:
    """One contender; subclasses say how a batch's loss, captions and logits are computed."""

    name: str
    module: nn.Module
    """Everything that is trained."""

    def loss(self, batch: Any) -> Tensor:
        """Of a training step."""
        raise NotImplementedError

    def captions(self, batch: Any, options: Options) -> Tensor:
        """(B, L) best captions; no end token ends one."""
        raise NotImplementedError

    def logits(self, batch: Any) -> Tensor:
        """(B, L, V) after the image tokens `batch.memory`; to compare the sides."""
        raise NotImplementedError


class OurTransformer(Side):
    """Our method, and its network's captions."""

    name = "ours"

    def __init__(self, options: Options) -> None:
        self.module: Any = our_method(options, "transformer")

    def loss(self, batch: Any) -> Tensor:
        """See `Side`."""
        return self.module.objective(self.module.embed(batch, STEP), STEP).total

    def captions(self, batch: Any, options: Options) -> Tensor:
        """See `Side`."""
        network = self.module.network
        with endless(network.decoder.output_bias):
            return network.caption(
                batch.pixels, begin_id=BEGIN, end_id=END, decoding=decoding_of(options)
            ).tokens[:, 0]

    def logits(self, batch: Any) -> Tensor:
        """See `Side`."""
        return decoder_logits(self.module.network.decoder, batch)


class Transformers(Side):
    """VisionEncoderDecoderModel."""

    name = "transformers"

    def __init__(self, options: Options, ours: OurTransformer) -> None:
        self.module: Any = transformers_model(options)
        weights_to_transformers(ours.module, self.module)

    def loss(self, batch: Any) -> Tensor:
        """See `Side`."""
        return self.module(
            pixel_values=batch.pixels, decoder_input_ids=batch.text.tokens[:, :-1], labels=labels_of(batch)
        ).loss

    def captions(self, batch: Any, options: Options) -> Tensor:
        """See `Side`."""
        return self.module.generate(
            pixel_values=batch.pixels,
            num_beams=options.num_beams,
            max_new_tokens=options.num_tokens,
            suppress_tokens=[BEGIN, END],
        )[:, 1:]

    def logits(self, batch: Any) -> Tensor:
        """See `Side`."""
        return self.module(
            encoder_outputs=(batch.memory,), decoder_input_ids=batch.text.tokens[:, :-1]
        ).logits


class OurLSTM(Side):
    """Our decoder with the frozen encoder's tokens."""

    name = "ours"

    def __init__(self, options: Options) -> None:
        self.module: Any = our_method(options, "lstm").network.decoder

    def loss(self, batch: Any) -> Tensor:
        """See `Side`."""
        # As `Captioning.embed`: padded places cost no logits.
        real = batch.text.mask[:, 1:]
        states = self.module(batch.text.tokens[:, :-1], Memory(batch.memory, batch.memory[:, 0])).states
        return F.cross_entropy(self.module.logits(states[real]).float(), batch.text.tokens[:, 1:][real])

    def captions(self, batch: Any, options: Options) -> Tensor:
        """See `Side`."""
        with endless(self.module.output_bias):
            return generate(
                self.module,
                Memory(batch.memory, batch.memory.mean(dim=1)),
                begin_id=BEGIN,
                end_id=END,
                decoding=decoding_of(options),
            ).tokens[:, 0]

    def logits(self, batch: Any) -> Tensor:
        """See `Side`."""
        return decoder_logits(self.module, batch)


class Tutorial(Side):
    """peers/tutorial_captioner.py."""

    name = "tutorial"

    def __init__(self, options: Options, ours: OurLSTM) -> None:
        self.module: Any = TutorialCaptioner(options.width, options.width, options.vocabulary_size)
        weights_to_tutorial(ours.module, self.module)

    def loss(self, batch: Any) -> Tensor:
        """See `Side`."""
        return cross_entropy(self.logits(batch), batch)

    def captions(self, batch: Any, options: Options) -> Tensor:
        """See `Side`."""
        with endless(self.module.output.bias):
            return captions_by_prefix(
                self.module,
                batch.memory,
                begin_id=BEGIN,
                num_tokens=options.num_tokens,
                num_beams=options.num_beams,
            )

    def logits(self, batch: Any) -> Tensor:
        """See `Side`."""
        return self.module(batch.memory, batch.text.tokens[:, :-1])[0]


def decoder_logits(decoder: Any, batch: Any) -> Tensor:
    """Our decoder's, (B, L, V)."""
    memory = Memory(batch.memory, batch.memory.mean(dim=1))
    logits: Tensor = decoder.logits(decoder(batch.text.tokens[:, :-1], memory).states)
    return logits


def labels_of(batch: Any) -> Tensor:
    """(B, L - 1) tokens to predict, -100 on padding."""
    labels: Tensor = batch.text.tokens[:, 1:].masked_fill(~batch.text.mask[:, 1:], -100)
    return labels


def cross_entropy(logits: Tensor, batch: Any) -> Tensor:
    """Mean over the real tokens."""
    return F.cross_entropy(logits.float().flatten(0, 1), labels_of(batch).flatten(), ignore_index=-100)


def decoding_of(options: Options) -> Decoding:
    """Our options of beam search; all captions are of one length, so that no penalty matters."""
    return Decoding(num_beams=options.num_beams, max_tokens=options.num_tokens)


@contextlib.contextmanager
def endless(bias: Tensor) -> Iterator[None]:
    """Inside, neither the begin nor the end token is ever likely."""
    before = bias.detach().clone()
    with torch.no_grad():
        bias[[BEGIN, END]] = -1e4
        yield
        bias.copy_(before)


def sides_of(kind: str, options: Options) -> tuple[Side, Side]:
    """Ours and theirs, of the same weights."""
    torch.manual_seed(0)
    if kind == "lstm":
        lstm = OurLSTM(options)
        return lstm, Tutorial(options, lstm)
    ours = OurTransformer(options)
    return ours, Transformers(options, ours)


@torch.no_grad()
def check_same(sides: tuple[Side, Side], options: Options) -> None:
    """Compare what both compute; of tokens alone also the captions.

    Raises:
        AssertionError: they differ.
    """
    batch = random_batch(dataclasses.replace(options, batch_size=4))
    ours, theirs = (side.module.eval() and side for side in sides)
    torch.testing.assert_close(ours.logits(batch), theirs.logits(batch), rtol=1e-3, atol=1e-4)
    captions = [side.captions(batch, options) for side in (ours, theirs)]
    assert captions[0].shape == captions[1].shape == (4, options.num_tokens)
    if isinstance(ours, OurLSTM):  # transformers' model also sees [CLS]
        assert torch.equal(*captions)
