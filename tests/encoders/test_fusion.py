"""The fusion encoder: against transformers' own layers, cut from a BERT, with pre-trained halves."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likewise.encoders.fusion import FusionEncoder, cut_fusion
from likewise.encoders.heads import LanguageHead
from likewise.encoders.image import ImageEncoder, ImageEncoderConfig
from likewise.encoders.pairing import Pairing
from likewise.encoders.text import TextEncoder, TextEncoderConfig
from likewise.errors import ConfigError, ModelError
from likewise.networks.fusion import FusionNetwork
from likewise.networks.registry import network_from_spec

VOCABULARY = 300


def bert(depth: int = 4, **options: Any) -> TextEncoder:
    settings = {"architecture": "bert", "width": 32, "depth": depth, "heads": 2, "max_tokens": 16} | options
    torch.manual_seed(0)
    return TextEncoder.build(TextEncoderConfig(**settings), vocabulary_size=VOCABULARY)  # type: ignore[arg-type]


def fusion(image_dim: int = 32, **options: Any) -> FusionEncoder:
    """Two layers in float64, whose attention is not as even as it starts."""
    made = cut_fusion(bert(**options), depth=2, image_dim=image_dim).double().eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return made


def inputs(image_dim: int = 32) -> tuple[Tensor, Tensor, Tensor]:
    """Three texts of 7, 4 and 2 tokens and three pictures of five."""
    generator = torch.Generator().manual_seed(0)
    texts = torch.randn(3, 7, 32, generator=generator, dtype=torch.float64)
    mask = torch.arange(7) < torch.tensor([[7], [4], [2]])
    return texts, mask, torch.randn(3, 5, image_dim, generator=generator, dtype=torch.float64)


def small_network(**options: Any) -> FusionNetwork:
    image = ImageEncoder.build(ImageEncoderConfig(image_size=32, width=16, depth=1))
    settings: dict[str, Any] = {"fusion_depth": None, "dim": 8, "vocabulary_size": VOCABULARY} | options
    return FusionNetwork.build(image, bert(), **settings).eval()


def questions() -> tuple[Tensor, Tensor]:
    mask = torch.arange(6) < torch.tensor([[6], [3]])
    tokens = torch.randint(4, VOCABULARY, (2, 6), generator=torch.Generator().manual_seed(0))
    return tokens.masked_fill(~mask, 0), mask


# -- the encoder


def transformers_own(encoder: FusionEncoder) -> tuple[nn.ModuleList, list[Tensor]]:
    """BERT's decoder layers with their eager attention and the same weights; where their cross-attention
    looks is put into the list."""
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertLayer

    config = BertConfig(**{k: v for k, v in encoder.config.to_dict().items() if k != "model_type"})
    config._attn_implementation = "eager"
    layers = nn.ModuleList(BertLayer(config, layer_idx=i) for i in range(len(encoder.layers))).double().eval()
    layers.load_state_dict(encoder.layers.state_dict())
    looks: list[Tensor] = []
    for layer in layers:
        layer.crossattention.self.register_forward_hook(lambda module, given, made: looks.append(made[1]))  # type: ignore[union-attr]
    return layers, looks


@pytest.mark.parametrize("image_dim", [32, 20])
def test_fusion_is_bert_s_decoder_that_reads_both_ways(image_dim: int) -> None:
    encoder = fusion(image_dim)
    states, mask, seen = inputs(image_dim)
    layers, looks = transformers_own(encoder)
    found = encoder(states, mask, seen)
    added = torch.zeros(3, 1, 1, 7, dtype=torch.float64).masked_fill(~mask[:, None, None, :], -1e30)
    expected = states
    for layer in layers:
        expected = layer(expected, added, encoder.bridge(seen))
    torch.testing.assert_close(found[mask], expected[mask])
    for place, weights in enumerate(looks):
        _, ours = encoder.with_attention(states, mask, seen, layer=place)
        torch.testing.assert_close(ours.transpose(1, 2)[mask], weights.transpose(1, 2)[mask])


def test_padding_changes_nothing() -> None:
    encoder = fusion()
    states, mask, seen = inputs()
    whole = encoder(states, mask, seen)
    noise = torch.where(mask[:, :, None], states, 9 * torch.randn_like(states))
    torch.testing.assert_close(encoder(noise, mask, seen)[mask], whole[mask])
    for row, length in enumerate((7, 4, 2)):
        one = slice(row, row + 1)
        alone = encoder(states[one, :length], mask[one, :length], seen[one])
        torch.testing.assert_close(alone, whole[one, :length])


def test_every_word_sees_all_words_and_the_whole_picture() -> None:
    encoder = fusion()
    states, mask, seen = (part[:1] for part in inputs())
    states, seen = states.requires_grad_(), seen.requires_grad_()
    found = encoder(states, mask, seen)
    for place in range(7):
        words, picture = torch.autograd.grad(
            found[0, place].square().sum(), (states, seen), retain_graph=True
        )
        assert (words[0].norm(dim=1) > 1e-6).all()
        assert (picture[0].norm(dim=1) > 1e-6).all()
    # The picture's tokens carry their places themselves.
    torch.testing.assert_close(encoder(states, mask, seen.flip(1)), found)


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_watched_attention_changes_nothing(layer: int) -> None:
    encoder = fusion()
    states, mask, seen = inputs()
    before = encoder(states, mask, seen)
    watched, weights = encoder.with_attention(states, mask, seen, layer=layer)
    torch.testing.assert_close(watched, before)
    assert weights.shape == (3, 2, 7, 5)
    assert weights.requires_grad
    torch.testing.assert_close(weights.sum(3), torch.ones(3, 2, 7, dtype=torch.float64))
    assert weights.std(3).transpose(1, 2)[mask].min() > 1e-3, "attention that is even would prove nothing"
    (slope,) = torch.autograd.grad(watched[:, 0].square().sum(), weights)
    assert slope.isfinite().all()
    assert slope.norm() > 0
    assert torch.equal(encoder(states, mask, seen), before)


@pytest.mark.parametrize(
    ("rounds", "others", "pictures"),
    [
        (1, None, [0, 1, 2]),
        (2, None, [0, 1, 2, 0, 1, 2]),
        (1, [4, 0, 4, 2], [0, 1, 2, 4, 0, 4, 2]),  # two pictures that no text of the rounds has
        (3, [1, 3], [0, 1, 0, 1, 0, 1, 1, 3]),
        (2, [], [0, 1, 0, 1]),
        (1, [2, 2], [2, 2]),
    ],
)
def test_shared_pictures_are_as_if_each_text_had_its_own(
    rounds: int, others: list[int] | None, pictures: list[int]
) -> None:
    """Values and gradients."""
    encoder, P = fusion(20), len(pictures)
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(P, 4, 32, generator=generator, dtype=torch.float64)
    mask = torch.arange(4) < torch.tensor([4, 2, 3, 1])[torch.arange(P) % 4, None]
    num_pictures = 3 if others is None else 5
    seen = torch.randn(num_pictures, 6, 20, generator=generator, dtype=torch.float64, requires_grad=True)
    pairing = Pairing(
        rounds=rounds, others=None if others is None else torch.tensor(others, dtype=torch.int64)
    )
    weight = torch.randn(P, 4, 32, generator=generator, dtype=torch.float64)
    apart, together = encoder(states, mask, seen[pictures]), encoder(states, mask, seen, pairing)
    torch.testing.assert_close(together, apart)
    for found, wanted in zip(
        torch.autograd.grad((together * weight).sum(), [seen, *encoder.parameters()]),
        torch.autograd.grad((apart * weight).sum(), [seen, *encoder.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("rounds", "others", "num_texts", "whole"),
    [
        (1, None, 3, False),
        (1, None, 3, True),  # nothing is left of which the first token alone is read
        (2, None, 6, True),
        (1, [1, 3], 5, True),
        (2, [1, 3], 8, True),
        (2, [1, 3], 8, False),
    ],
)
def test_what_is_read_is_what_a_whole_pass_finds(
    rounds: int, others: list[int] | None, num_texts: int, whole: bool
) -> None:
    encoder = fusion(20)
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(num_texts, 4, 32, generator=generator, dtype=torch.float64)
    mask = torch.arange(4) < torch.tensor([4, 2, 3, 1])[torch.arange(num_texts) % 4, None]
    num_others = 0 if others is None else len(others)
    R = (num_texts - num_others) // rounds
    seen = torch.randn(max(R, 4 if others else 0), 6, 20, generator=generator, dtype=torch.float64)
    pairing = Pairing(rounds=rounds, others=None if others is None else torch.tensor(others))
    expected = encoder(states, mask, seen, pairing)
    firsts, last = encoder.read(states, mask, seen, pairing, last_round_whole=whole)
    end = num_texts - num_others
    if not whole:
        assert last is None
        torch.testing.assert_close(firsts, expected[:, 0])
        return
    assert last is not None
    torch.testing.assert_close(last, expected[end - R : end])
    torch.testing.assert_close(firsts, torch.cat([expected[: end - R], expected[end:]])[:, 0])


def test_dropout_acts_in_training_alone() -> None:
    encoder = fusion(dropout=0.5)
    states, mask, seen = inputs()
    torch.testing.assert_close(encoder(states, mask, seen), encoder(states, mask, seen))
    encoder.train()
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    still = encoder(states, mask, seen)
    torch.testing.assert_close(still, encoder(states, mask, seen))
    for layer in encoder.layers:
        layer.crossattention.self.dropout.p = 0.5  # type: ignore[union-attr]
    assert not torch.allclose(encoder(states, mask, seen), still)
    assert not torch.allclose(encoder.with_attention(states, mask, seen, layer=0)[0], still)


def test_a_bridge_stands_where_widths_differ_alone() -> None:
    assert isinstance(fusion(32).bridge, nn.Identity)
    bridge = fusion(20).bridge
    assert isinstance(bridge, nn.Linear)
    assert bridge.weight.shape == (32, 20)


def test_positions_tell_tokens_of_a_convolutional_encoder_apart() -> None:
    config = fusion().config
    placed = FusionEncoder(config, image_dim=20, image_positions=True).eval()
    plain = FusionEncoder(config, image_dim=20).eval()
    weights = placed.state_dict()
    with pytest.raises(RuntimeError, match=r"bridge\.positions"):  # of a run with positions
        plain.load_state_dict(weights)
    plain.load_state_dict({name: one for name, one in weights.items() if name != "bridge.positions"})
    with pytest.raises(RuntimeError, match=r"bridge\.positions"):  # and of one without
        placed.load_state_dict(plain.state_dict())
    states, mask = torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.bool)
    seen = torch.randn(2, 1 + 9, 20)
    swapped = seen[:, [0, 1, 8, *range(3, 8), 2, 9]]
    torch.testing.assert_close(plain(states, mask, seen), plain(states, mask, swapped))
    assert not torch.allclose(placed(states, mask, seen), placed(states, mask, swapped), atol=1e-3)

    # By hand, for the grid of 8 x 8: 8 rates of 32 / 4, sines and cosines of the row, then of the column.
    seen = torch.randn(2, 1 + 64, 20)
    expected = plain.bridge(seen)
    for row in range(8):
        for column in range(8):
            for wave in range(8):
                rate = 8 ** (-wave / 8)
                for start, place in ((0, row), (16, column)):
                    expected[:, 1 + 8 * row + column, start + wave] += math.sin(rate * place)
                    expected[:, 1 + 8 * row + column, start + 8 + wave] += math.cos(rate * place)
    torch.testing.assert_close(placed.bridge(seen), expected)


@torch.no_grad()
def test_a_place_has_one_position_at_all_image_sizes() -> None:
    bridge = FusionEncoder(fusion().config, image_dim=20, image_positions=True).bridge.eval()
    coarse, fine = (bridge(torch.zeros(1, 1 + side * side, 20))[:, 1:] for side in (8, 16))
    fine = F.avg_pool2d(fine.transpose(1, 2).view(1, 32, 16, 16), 2).flatten(2).transpose(1, 2)
    assert float(F.cosine_similarity(coarse, fine, dim=2).min()) > 0.97


def test_a_bridge_with_positions_keeps_the_scale_of_the_tokens() -> None:
    config = fusion().config
    config.initializer_range = 0.02  # of published BERTs
    bridge = FusionEncoder(config, image_dim=200, image_positions=True).bridge
    assert float(bridge.weight.detach().std()) == pytest.approx(200**-0.5, rel=0.1)


def test_positions_of_equal_widths_and_of_older_models() -> None:
    config = fusion().config
    assert isinstance(FusionEncoder(config, image_dim=32, image_positions=True).bridge, nn.Linear)
    spec = FusionEncoder(config, image_dim=20, image_positions=True).spec()
    assert FusionEncoder.from_spec(json.loads(json.dumps(spec))).image_positions
    del spec["image_positions"]
    assert not FusionEncoder.from_spec(spec).image_positions
    with pytest.raises(ModelError, match="image_positions is 'yes'"):
        FusionEncoder.from_spec(spec | {"image_positions": "yes"})


@pytest.mark.parametrize(("architecture", "positions"), [("resnet", True), ("vit", False)])
def test_a_network_adds_positions_where_its_image_encoder_has_none(
    architecture: Literal["resnet", "vit"], positions: bool
) -> None:
    image = ImageEncoder.build(
        ImageEncoderConfig(architecture=architecture, image_size=32, width=16, depth=10)
    )
    network = FusionNetwork.build(image, bert(), fusion_depth=1, dim=8, vocabulary_size=50)
    assert network.fusion.image_positions is positions


def test_an_encoder_comes_back_from_its_spec() -> None:
    encoder = fusion(20)
    again = FusionEncoder.from_spec(json.loads(json.dumps(encoder.spec()))).double().eval()
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(*inputs(20)), encoder(*inputs(20)))
    assert again.spec() == encoder.spec()


# -- cutting a BERT


@pytest.mark.parametrize(("layers", "depth", "cut"), [(4, None, 2), (5, None, 2), (4, 1, 1), (4, 3, 3)])
def test_upper_layers_are_cut_and_lower_ones_stay(layers: int, depth: int | None, cut: int) -> None:
    text, whole = bert(layers).eval(), bert(layers).eval()
    tokens, mask = questions()
    made = cut_fusion(text, depth=depth, image_dim=16)
    assert len(made.layers) == made.config.num_hidden_layers == cut
    kept = layers - cut
    assert len(text.backbone.encoder.layer) == text.backbone.config.num_hidden_layers == kept
    for mine, theirs in zip(made.layers, whole.backbone.encoder.layer[kept:], strict=True):
        weights = mine.state_dict()
        for name, weight in theirs.state_dict().items():
            assert torch.equal(weights[name], weight), name
    # What stays computes what the whole computes up to there.
    states = whole.backbone(input_ids=tokens, attention_mask=mask, output_hidden_states=True).hidden_states
    torch.testing.assert_close(text(tokens, mask).tokens[mask], states[kept][mask])


def test_cross_attention_starts_as_bert_starts() -> None:
    made = cut_fusion(bert(), depth=2, image_dim=16)
    new = {name: w for name, w in made.named_parameters() if "crossattention" in name or "bridge" in name}
    assert len(new) == 2 * 10 + 2  # query, key, value, output, norm: weight and bias; and the bridge's
    for name, weight in new.items():
        if weight.ndim == 2:
            assert float(weight.detach().std()) == pytest.approx(made.config.initializer_range, rel=0.15)
        else:
            assert torch.equal(weight, torch.full_like(weight, "norm" in name.lower() and "weight" in name))


@pytest.mark.parametrize(("layers", "depth"), [(4, 0), (4, 4), (4, 9), (1, None), (4, -1)])
def test_a_cut_that_leaves_nothing_is_refused(layers: int, depth: int | None) -> None:
    with pytest.raises(ConfigError, match=rf"--method\.fusion-depth .*of the text encoder's {layers} layers"):
        cut_fusion(bert(layers), depth=depth, image_dim=16)


def test_only_a_bert_is_cut() -> None:
    text = bert(architecture="clip")
    with pytest.raises(ConfigError, match=r"clip_text_model; use --text\.architecture bert"):
        cut_fusion(text, depth=None, image_dim=16)
    assert len(text.backbone.encoder.layers) == 4


# -- the head for hidden words


def test_the_language_head_is_bert_s() -> None:
    torch.manual_seed(0)
    head = LanguageHead(6, 11).double()
    with torch.no_grad():
        for weight in head.parameters():
            weight += 0.3 * torch.randn_like(weight)
    states, words = torch.randn(4, 6, dtype=torch.float64), torch.randn(11, 6, dtype=torch.float64)
    found = head(states, words)
    for m, state in enumerate(states):
        h = head.transform.weight @ state + head.transform.bias
        h = h * 0.5 * (1 + torch.erf(h / math.sqrt(2)))
        h = (h - h.mean()) / ((h - h.mean()).square().mean() + 1e-12).sqrt()
        h = h * head.norm.weight + head.norm.bias
        for v, word in enumerate(words):
            torch.testing.assert_close(found[m, v], h @ word + head.bias[v])


def test_the_language_head_keeps_bert_s_epsilon_in_a_saved_network_too() -> None:
    network = small_network()
    assert network.language_head.norm.eps == 1e-12
    network.fusion.config.layer_norm_eps = 1e-7  # of a pre-trained BERT
    spec = json.loads(json.dumps(network.spec()))
    again = network_from_spec(spec)
    assert isinstance(again, FusionNetwork)
    assert again.language_head.norm.eps == again.fusion.layers[0].output.LayerNorm.eps == 1e-7


def test_the_network_s_last_map_is_the_word_embedding() -> None:
    network = small_network()
    states = torch.randn(3, 32)
    embedding = network.text.backbone.get_input_embeddings().weight
    torch.testing.assert_close(network.word_logits(states), network.language_head(states, embedding))
    network.word_logits(states).square().sum().backward()
    assert embedding.grad is not None
    assert embedding.grad.norm() > 0


# -- the network


def outputs(network: FusionNetwork, size: int = 32) -> list[Tensor]:
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    tokens, mask = questions()
    images, texts = network.image_states(pixels), network.text_states(tokens, mask)
    return [
        network.encode_images(pixels),
        network.encode_texts(tokens, mask),
        network.match_logits(texts, mask, images),
        network.word_logits(network.fusion(texts, mask, images)[mask]),
    ]


@pytest.mark.parametrize("depth", [None, 1, 3])
def test_a_network_comes_back_from_its_spec(depth: int | None) -> None:
    network = small_network(fusion_depth=depth)
    again = network_from_spec(json.loads(json.dumps(network.spec()))).eval()
    assert isinstance(again, FusionNetwork)
    again.load_state_dict(network.state_dict())
    for mine, theirs in zip(outputs(network), outputs(again), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert [part.shape[-1] for part in outputs(network)] == [8, 8, 2, VOCABULARY]


def test_states_and_embeddings_agree() -> None:
    network = small_network()
    pixels, (tokens, mask) = torch.randn(2, 3, 32, 32), questions()
    states = network.image_states(pixels)
    assert states.shape == (2, 1 + 64, 16)
    torch.testing.assert_close(network.image_projection(states[:, 0]), network.encode_images(pixels))
    torch.testing.assert_close(
        network.text_projection(network.text_states(tokens, mask)[:, 0]), network.encode_texts(tokens, mask)
    )


def test_no_weight_is_without_use() -> None:
    network = small_network()
    sum(part.square().sum() for part in outputs(network)).backward()  # type: ignore[union-attr]
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == ["log_temperature"]


# -- pre-trained halves


def saved(folder: Path) -> tuple[nn.Module, nn.Module]:
    """A tiny BERT and a tiny ViT at 32 px as transformers writes them, poolers and all."""
    from transformers import BertConfig, BertModel, ViTConfig, ViTModel

    torch.manual_seed(0)
    shared = {"num_attention_heads": 2, "num_hidden_layers": 4}
    text = BertModel(
        BertConfig(
            hidden_size=24,
            intermediate_size=48,
            vocab_size=VOCABULARY,
            max_position_embeddings=16,
            **shared,  # type: ignore[arg-type]
        )
    )
    image = ViTModel(
        ViTConfig(hidden_size=16, intermediate_size=32, image_size=32, patch_size=8, **shared)  # type: ignore[arg-type]
    )
    with torch.no_grad():  # a ViT's own start is too small to tell positions apart
        image.embeddings.position_embeddings.normal_()
    text.save_pretrained(folder / "bert")
    image.save_pretrained(folder / "vit")
    return text.eval(), image.eval()


@pytest.mark.parametrize("size", [32, 48])
def test_pretrained_halves_make_a_network(tmp_path: Path, size: int) -> None:
    text, image = saved(tmp_path)
    network = FusionNetwork.build(
        ImageEncoder.build(ImageEncoderConfig(pretrained=str(tmp_path / "vit"), image_size=size)),
        TextEncoder.build(
            TextEncoderConfig(pretrained=str(tmp_path / "bert"), max_tokens=8), vocabulary_size=VOCABULARY
        ),
        fusion_depth=None,
        dim=8,
        vocabulary_size=VOCABULARY,
    ).eval()

    layers = text.encoder.layer  # type: ignore[union-attr]
    for found, wanted in zip(
        [*network.text.backbone.encoder.layer, *network.fusion.layers],
        layers,  # type: ignore[arg-type]
        strict=True,
    ):
        weights = found.state_dict()
        assert all(torch.equal(weights[name], weight) for name, weight in wanted.state_dict().items())
    tokens, mask = questions()
    states = text(input_ids=tokens, attention_mask=mask, output_hidden_states=True).hidden_states[2]
    torch.testing.assert_close(network.text_states(tokens, mask)[mask], states[mask])

    # [CLS] keeps its place; the 4 x 4 places of patches are stretched over the new grid.
    positions = image.embeddings.position_embeddings.detach()  # type: ignore[union-attr, operator]
    grid, cells = positions[:, 1:].transpose(1, 2).unflatten(2, (4, 4)), size // 8
    stretched = F.interpolate(grid, size=(cells, cells), mode="bicubic", align_corners=False)
    wanted = torch.cat([positions[:, :1], stretched.flatten(2).transpose(1, 2)], dim=1)
    torch.testing.assert_close(network.image.backbone.embeddings.position_embeddings.detach(), wanted)
    pixels = torch.randn(2, 3, size, size)
    whole = image(pixels, interpolate_pos_encoding=size != 32).last_hidden_state
    torch.testing.assert_close(network.image_states(pixels), whole, rtol=1e-4, atol=1e-5)

    assert isinstance(network.fusion.bridge, nn.Linear)
    again = network_from_spec(json.loads(json.dumps(network.spec()))).eval()
    assert isinstance(again, FusionNetwork)
    again.load_state_dict(network.state_dict())
    for mine, theirs in zip(outputs(network, size), outputs(again, size), strict=True):
        assert mine.isfinite().all()
        torch.testing.assert_close(mine, theirs)
    sum(part.square().sum() for part in outputs(network, size)).backward()  # type: ignore[union-attr]
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == ["log_temperature"]


@pytest.mark.parametrize("stored_with_head", [True, False])
def test_the_language_head_starts_from_a_pretrained_one(tmp_path: Path, stored_with_head: bool) -> None:
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=VOCABULARY + 4,
        max_position_embeddings=16,
        layer_norm_eps=1e-3,
    )
    whole = BertForMaskedLM(config).eval()
    with torch.no_grad():
        for weight in whole.cls.parameters():
            weight += 0.3 * torch.randn_like(weight)
    (whole if stored_with_head else whole.bert).save_pretrained(tmp_path)
    head = LanguageHead(24, VOCABULARY)
    before = {name: weight.clone() for name, weight in head.state_dict().items()}
    assert head.start_from(str(tmp_path)) is stored_with_head
    if not stored_with_head:
        assert all(torch.equal(weight, before[name]) for name, weight in head.state_dict().items())
        return
    assert head.norm.eps == 1e-3
    states = torch.randn(5, 24)
    words = whole.bert.embeddings.word_embeddings.weight
    found = head(states, words[:VOCABULARY])
    torch.testing.assert_close(found, whole.cls(states)[:, :VOCABULARY], rtol=1e-4, atol=1e-4)
    # A network on it reads no more words than its tokenizer has.
    network = FusionNetwork.build(
        ImageEncoder.build(ImageEncoderConfig(image_size=32, width=16, depth=1)),
        TextEncoder.build(
            TextEncoderConfig(pretrained=str(tmp_path), max_tokens=8), vocabulary_size=VOCABULARY
        ),
        fusion_depth=None,
        dim=8,
        vocabulary_size=VOCABULARY,
    )
    assert network.word_logits(states).shape == (5, VOCABULARY)
    assert network.language_head.norm.eps == 1e-3
