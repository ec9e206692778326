"""The switch of the hand-tuned layers: off, encoders are transformers' own, with equal values and weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from likewise.encoders import ImageEncoder, ImageEncoderConfig, TextEncoder, TextEncoderConfig
from likewise.encoders.fast import disabled, enabled
from likewise.encoders.fusion import FusionEncoder, cut_fusion
from likewise.encoders.pairing import Pairing
from likewise.errors import ConfigError

MASK = torch.arange(6) < torch.tensor([6, 1, 3, 4])[:, None]


def image(**options: Any) -> ImageEncoder:
    return ImageEncoder.build(ImageEncoderConfig(image_size=32, **options))


def text(architecture: Any, depth: int = 2) -> TextEncoder:
    config = TextEncoderConfig(architecture=architecture, width=32, depth=depth, heads=2, max_tokens=8)
    return TextEncoder.build(config, vocabulary_size=300)


def fusion() -> FusionEncoder:
    return cut_fusion(text("bert", 4), depth=2, image_dim=20)


BUILD: dict[str, Callable[[], Any]] = {
    "vit": lambda: image(width=32, depth=2),
    "resnet": lambda: image(architecture="resnet", width=8, depth=10),
    "clip": lambda: text("clip"),
    "bert": lambda: text("bert"),
    "fusion": fusion,
    "fusion read": fusion,
}


def outputs(kind: str, encoder: Any) -> list[Tensor]:
    """Of the same inputs; states of padding are left out, which mean nothing."""
    generator = torch.Generator().manual_seed(0)
    if kind in ("vit", "resnet"):
        return list(encoder(torch.randn(3, 3, 32, 32, generator=generator)))
    if kind in ("clip", "bert"):
        pooled, states = encoder(
            torch.randint(4, 300, (4, 6), generator=generator).masked_fill(~MASK, 0), MASK
        )
        return [pooled, states[MASK]]
    states, images = torch.randn(4, 6, 32, generator=generator), torch.randn(2, 5, 20, generator=generator)
    pairing = Pairing(rounds=1, others=torch.tensor([1, 1]))
    if kind == "fusion":
        return [encoder(states, MASK, images, pairing)]
    firsts, whole = encoder.read(states, MASK, images, pairing, last_round_whole=True)
    return [firsts, whole, encoder.read(states, MASK, images, pairing)[0]]


def gradients(kind: str, encoder: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    found = outputs(kind, encoder)
    sum(part.sin().sum() for part in found).backward()  # type: ignore[union-attr]
    return found, [weight.grad for weight in encoder.parameters() if weight.grad is not None]


@pytest.mark.parametrize("kind", BUILD)
def test_on_and_off_have_the_same_weights_values_and_gradients(kind: str) -> None:
    torch.manual_seed(0)
    fast = BUILD[kind]().train()
    with torch.no_grad():
        for weight in fast.parameters():
            weight += 0.1 * torch.randn_like(weight)
    with disabled():
        plain = BUILD[kind]().train()
    assert plain.state_dict().keys() == fast.state_dict().keys()
    plain.load_state_dict(fast.state_dict())
    for ours, theirs in zip(gradients(kind, fast), gradients(kind, plain), strict=True):
        assert len(ours) == len(theirs)
        for own, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["vit", "clip", "bert", "fusion"])
def test_off_every_layer_is_transformers_or_torchs_own(kind: str) -> None:
    def foreign(encoder: nn.Module) -> list[str]:
        layers = [module for module in encoder.modules() if "Encoder" not in type(module).__name__]
        return [
            str(type(one)) for one in layers if "likewise" in type(one).__module__ or hasattr(one, "is_fast")
        ]

    assert foreign(BUILD[kind]())
    with disabled():
        encoder = BUILD[kind]()
    assert not foreign(encoder)
    assert not hasattr(type(encoder), "is_fast")
    config = encoder.config if kind == "fusion" else encoder.backbone.config
    assert config._attn_implementation == "sdpa"


def test_a_copy_is_as_fast_as_its_original() -> None:
    encoder = fusion().eval()
    again = copy.deepcopy(encoder)
    assert type(again) is type(encoder)
    with torch.no_grad():
        for weight in again.parameters():
            weight.zero_()
    assert not torch.equal(outputs("fusion", again)[0], outputs("fusion", encoder)[0])


def test_the_environment_and_the_context_turn_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIKEWISE_FAST", raising=False)
    assert enabled()
    with disabled():
        assert not enabled()
    assert enabled()
    monkeypatch.setenv("LIKEWISE_FAST", "0")
    assert not enabled()
    monkeypatch.setenv("LIKEWISE_FAST", "no")
    with pytest.raises(ConfigError, match="LIKEWISE_FAST is 'no'; expected 0 or 1"):
        enabled()
