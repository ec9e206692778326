"""Hand-tuned layers: values and gradients of transformers' own, with less memory."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from kept import kept_bytes
from torch import Tensor, nn
from torch.nn import functional as F

from likewise.encoders.fast.dropout import Dropout, dropout
from likewise.encoders.fast.fused_linear import (
    DeferredLayerNorm,
    LinearOfGELU,
    LinearOfNorm,
    to_autocast_dtype,
)
from likewise.encoders.fast.install import install_fast_layers
from likewise.encoders.image import ImageEncoder, ImageEncoderConfig
from likewise.encoders.text import TextEncoder, TextEncoderConfig


def fast(kind: Any, layer: nn.Module, **attributes: Any) -> Any:
    """A layer with the same weights."""
    made = copy.copy(layer)
    made.__class__ = kind
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def kept_by(module: nn.Module, rows: Tensor) -> int:
    """Bytes that a module keeps beside its input and weights."""
    return kept_bytes(lambda: module(rows), rows, *module.parameters())


def test_a_map_of_gelu_has_its_values_and_gradients() -> None:
    torch.manual_seed(0)
    plain = nn.Linear(6, 4).double()
    lean = fast(LinearOfGELU, plain)
    assert lean.weight is plain.weight
    assert lean.bias is plain.bias
    rows = torch.randn(3, 5, 6, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(lean(rows), plain(F.gelu(rows)))
    assert torch.autograd.gradcheck(lean, (rows,))
    weight, bias = (p.detach().clone().requires_grad_() for p in (plain.weight, plain.bias))

    def mapped(weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(lean, {"weight": weight, "bias": bias}, (rows.detach(),))

    assert torch.autograd.gradcheck(mapped, (weight, bias))
    with torch.no_grad():
        without = fast(LinearOfGELU, nn.Linear(6, 4, bias=False).double())
    torch.testing.assert_close(without(rows), F.gelu(rows) @ without.weight.T)


def test_it_computes_gradients_that_are_asked_for_alone() -> None:
    lean = fast(LinearOfGELU, nn.Linear(6, 4)).requires_grad_(False)
    rows = torch.randn(5, 6, requires_grad=True)
    lean(rows).sum().backward()
    assert rows.grad is not None
    assert lean.weight.grad is None


def test_a_map_of_gelu_keeps_no_more_than_its_input() -> None:
    rows = torch.randn(64, 96, requires_grad=True)
    plain = nn.Linear(96, 32)
    assert kept_by(nn.Sequential(nn.GELU(), plain), rows) == rows.nbytes
    assert kept_by(fast(LinearOfGELU, plain), rows) == 0


@pytest.mark.parametrize("lowered", [True, False])
def test_autocast_multiplies_as_it_would_in_plain_layers(lowered: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(16, 8)
    lean, rows = fast(LinearOfGELU, plain), torch.randn(7, 16)
    found, wanted = [], []
    for made, layer in ((found, lean), (wanted, lambda rows: plain(F.gelu(rows)))):
        own = rows.clone().requires_grad_()
        plain.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=lowered):
            first = layer(own.to(torch.bfloat16) if lowered else own)
        first.float().square().sum().backward()
        assert plain.weight.grad is not None
        made += [first, own.grad, plain.weight.grad.clone()]
    assert found[0].dtype == (torch.bfloat16 if lowered else torch.float32)
    assert found[2].dtype == torch.float32
    for own, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(own, other, rtol=2e-2, atol=2e-2)


def norm_and_map(dtype: torch.dtype = torch.float64) -> tuple[nn.LayerNorm, nn.Linear]:
    """With a scale and a shift of its own."""
    norm, plain = nn.LayerNorm(6).to(dtype), nn.Linear(6, 4).to(dtype)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm, plain


def test_a_map_of_a_norm_has_its_values_and_gradients() -> None:
    torch.manual_seed(0)
    norm, plain = norm_and_map()
    left = fast(DeferredLayerNorm, norm)
    lean = fast(LinearOfNorm, plain, norm_before=(left,))
    assert (left.weight, left.bias) == (norm.weight, norm.bias)
    assert (lean.weight, lean.bias) == (plain.weight, plain.bias)
    assert dict(lean.named_parameters()).keys() == {"weight", "bias"}  # the norm stays another module's
    rows = torch.randn(3, 5, 6, dtype=torch.float64, requires_grad=True)
    assert left(rows) is rows
    torch.testing.assert_close(lean(rows), plain(norm(rows)))
    assert torch.autograd.gradcheck(lean, (rows,))
    inputs = [p.detach().clone().requires_grad_() for p in (norm.weight, norm.bias, plain.weight, plain.bias)]

    def mapped(scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        given = {"0.weight": scale, "0.bias": shift, "1.weight": weight, "1.bias": bias}
        return torch.func.functional_call(nn.Sequential(left, lean), given, (rows.detach(),))

    assert torch.autograd.gradcheck(mapped, inputs)


def test_a_map_of_a_norm_computes_what_is_asked_for_and_keeps_its_input() -> None:
    norm, plain = norm_and_map(torch.float32)
    lean = fast(LinearOfNorm, plain.requires_grad_(False), norm_before=(fast(DeferredLayerNorm, norm),))
    rows = torch.randn(50, 6, requires_grad=True)
    assert kept_by(nn.Sequential(norm, nn.Linear(6, 4)), rows) >= rows.nbytes
    assert kept_by(lean, rows) <= 2 * 6 * 4  # the norm's scale and shift, which are not the map's
    lean(rows).sum().backward()
    assert rows.grad is not None
    assert norm.weight.grad is not None
    assert lean.weight.grad is None


def test_copies_read_their_own_norm() -> None:
    """As an EMA encoder does."""
    norm, plain = norm_and_map(torch.float32)
    left = fast(DeferredLayerNorm, norm)
    both = nn.ModuleList([left, fast(LinearOfNorm, plain, norm_before=(left,))])
    twin = copy.deepcopy(both)
    with torch.no_grad():
        left.weight.zero_()
        left.bias.zero_()
    rows = torch.randn(3, 6)
    torch.testing.assert_close(both[1](rows), plain.bias.expand(3, -1))
    assert not torch.allclose(twin[1](rows), plain.bias.expand(3, -1))


def test_rows_are_multiplied_in_the_type_of_autocast() -> None:
    rows = torch.randn(3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert to_autocast_dtype(rows).dtype == torch.bfloat16
        assert to_autocast_dtype(rows.double()).dtype == torch.float64
    assert to_autocast_dtype(rows) is rows


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_zeroes_its_share_and_keeps_the_mean(share: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    rows = torch.ones(401, 997, dtype=dtype, requires_grad=True)
    made = dropout(rows, share)
    assert made.dtype == dtype
    zeros = (made == 0).double().mean()
    assert abs(float(zeros) - share) < 5 * (share * (1 - share) / rows.numel()) ** 0.5
    assert made.max().item() == pytest.approx(1 / (1 - share), rel=1e-2)
    made.sum().backward()
    assert torch.equal(rows.grad, made.detach())  # type: ignore[arg-type]
    # Neighbours are drawn apart, four of them share one draw of the generator.
    pairs = (made[:, 1:] == 0).double() * (made[:, :-1] == 0).double()
    assert float(pairs.mean()) == pytest.approx(share**2, abs=0.01)


def test_dropout_follows_the_seed_and_takes_any_size() -> None:
    for shape in ((), (1,), (3,), (2, 3), (0, 4), (5, 1, 2)):
        rows = torch.ones(shape)
        torch.manual_seed(3)
        first = dropout(rows, 0.5)
        torch.manual_seed(3)
        assert torch.equal(dropout(rows, 0.5), first)
        assert first.shape == rows.shape
    rows = torch.randn(4, 4)
    assert torch.equal(dropout(rows, 0.0), rows)
    assert torch.equal(dropout(rows, 1.0), torch.zeros(4, 4))
    module = Dropout(0.5).eval()
    assert module(rows) is rows


def encoders() -> list[nn.Module]:
    image = ImageEncoderConfig(image_size=16, width=32, depth=2, dropout=0.1)
    made: list[nn.Module] = [ImageEncoder.build(image)]
    for architecture in ("clip", "bert"):
        text = TextEncoderConfig(architecture=architecture, width=32, depth=2, dropout=0.1)  # type: ignore[arg-type]
        made.append(TextEncoder.build(text, vocabulary_size=300))
    return made


@pytest.mark.parametrize("encoder", encoders(), ids=["vit", "clip", "bert"])
def test_backbones_are_lean_and_their_weights_are_called_as_ever(encoder: nn.Module) -> None:
    from transformers import AutoModel

    backbone = encoder.backbone
    modules = list(backbone.modules())
    assert sum(isinstance(module, LinearOfGELU) for module in modules) == 2
    assert not any(type(module) is nn.Dropout for module in modules)
    norms = sum(isinstance(module, DeferredLayerNorm) for module in modules)
    assert norms == (0 if backbone.config.model_type == "bert" else 4)
    plain = (
        type(backbone)(backbone.config)
        if backbone.config.model_type == "clip_text_model"
        else AutoModel.from_config(backbone.config, add_pooling_layer=False)
    )
    assert plain.state_dict().keys() == backbone.state_dict().keys()
    before = {name: id(weight) for name, weight in backbone.named_parameters()}
    install_fast_layers(backbone)  # once more changes nothing
    assert {name: id(weight) for name, weight in backbone.named_parameters()} == before
    assert sum(isinstance(module, LinearOfGELU) for module in backbone.modules()) == 2


@pytest.mark.parametrize("encoder", encoders()[:2], ids=["vit", "clip"])
def test_lean_layers_have_the_values_and_gradients_of_plain_ones(encoder: nn.Module) -> None:
    lean = encoder.backbone.double().eval()
    for name, weight in lean.named_parameters():
        if "norm" in name:
            nn.init.normal_(weight)
    options = {"add_pooling_layer": False} if lean.config.model_type == "vit" else {}
    plain = type(lean)(lean.config, **options).double().eval()
    plain.load_state_dict(lean.state_dict())
    assert sum(hasattr(module, "norm_before") for module in lean.modules()) == 4  # attention and MLP, twice
    assert not any(hasattr(module, "norm_before") for module in plain.modules())
    torch.manual_seed(0)
    given = (
        torch.randn(3, 3, 16, 16).double()
        if "vit" in lean.config.model_type
        else torch.randint(4, 300, (3, 7))
    )
    for model in (lean, plain):
        model(given).last_hidden_state.sin().sum().backward()
    torch.testing.assert_close(lean(given).last_hidden_state, plain(given).last_hidden_state)
    for (name, own), other in zip(lean.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, msg=name)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu_new"])
def test_other_activations_stay(activation: str) -> None:
    """OpenAI's CLIP has quick_gelu."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        hidden_act=activation,
    )
    model = CLIPTextModel(config).eval()
    tokens = torch.randint(4, 300, (2, 5))
    before = model(input_ids=tokens).last_hidden_state
    install_fast_layers(model)
    assert not any(isinstance(module, LinearOfGELU) for module in model.modules())
    torch.testing.assert_close(model(input_ids=tokens).last_hidden_state, before)


def test_models_that_name_their_activation_otherwise_are_read(tmp_path: Path) -> None:
    """DistilBERT has no `hidden_act`."""
    from transformers import DistilBertConfig, DistilBertModel

    config = DistilBertConfig(vocab_size=300, dim=16, hidden_dim=32, n_layers=1, n_heads=2)
    model = DistilBertModel(config).eval()
    model.save_pretrained(tmp_path)
    encoder = TextEncoder.build(
        TextEncoderConfig(pretrained=str(tmp_path), max_tokens=8), vocabulary_size=300
    ).eval()
    tokens, mask = torch.randint(4, 300, (2, 5)), torch.ones(2, 5, dtype=torch.bool)
    torch.testing.assert_close(
        encoder(tokens, mask).tokens, model(input_ids=tokens, attention_mask=mask).last_hidden_state
    )
