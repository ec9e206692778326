"""Networks that judge statements: two images share keys and values, padding changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from likewise.encoders import ImageEncoder, ImageEncoderConfig, TextEncoder, TextEncoderConfig
from likewise.encoders.fusion import cut_fusion
from likewise.encoders.two_image_fusion import fuse_two_images
from likewise.errors import ModelError
from likewise.networks.entailer import EntailmentNetwork
from likewise.networks.fused_states import image_tokens, text_tokens
from likewise.networks.pair_reasoner import PairReasoner
from likewise.networks.registry import network_from_spec
from likewise.training.warm_start import fitting_state

VOCABULARY = 40


def small(kind: type, classes: tuple[str, ...] = ("false", "true")):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    image = ImageEncoder.build(ImageEncoderConfig(image_size=32, width=32, depth=1))
    config = TextEncoderConfig(architecture="bert", width=32, depth=4, heads=2, max_tokens=12)
    text = TextEncoder.build(config, vocabulary_size=VOCABULARY)
    fusion = cut_fusion(text, depth=2, image_dim=image.dim)
    made = kind(image, text, fusion, classes=classes).double().eval()
    with torch.no_grad():
        for weight in made.parameters():  # as they start, all pairs are alike
            weight += 0.1 * torch.randn_like(weight)
    return made


def given(lengths: tuple[int, ...] = (4, 7, 5), *, padding: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    count = len(lengths)
    pixels = torch.randn(2, 3, 3, 32, 32, generator=generator, dtype=torch.float64)[:, :count]
    tokens = torch.randint(4, VOCABULARY, (3, 12), generator=generator)[:count]
    mask = torch.arange(max(lengths) + padding) < torch.tensor(lengths)[:, None]
    return pixels[0], pixels[1], tokens[:, : mask.shape[1]].masked_fill(~mask, 0), mask


@torch.no_grad()
def test_verdicts_do_not_depend_on_padding_or_batch_mates() -> None:
    for network in (small(EntailmentNetwork), small(PairReasoner)):
        first, second, tokens, mask = given()
        _, _, wide, wide_mask = given(padding=4)
        if isinstance(network, EntailmentNetwork):
            together, alone = network.entail(first, tokens, mask), network.entail(first, wide, wide_mask)
            single = network.entail(first[:1], tokens[:1, :4], mask[:1, :4])
        else:
            together = network.compare(first, second, tokens, mask)
            alone = network.compare(first, second, wide, wide_mask)
            single = network.compare(first[:1], second[:1], tokens[:1, :4], mask[:1, :4])
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)
        torch.testing.assert_close(together[:1], single, rtol=0, atol=1e-10)


@torch.no_grad()
def test_each_layer_reads_both_images_with_the_same_keys_and_merges_them() -> None:
    """Against the formula, head by head, between transformers' own self-attention and feed-forward layers."""
    network = small(PairReasoner)
    pixels, pixels_2, tokens, mask = given()
    states = text_tokens(network.text, tokens, mask)
    images = [image_tokens(network.image, one) for one in (pixels, pixels_2)]
    found, _ = fuse_two_images(network.fusion, network.second, states, mask, tuple(images))  # type: ignore[arg-type]
    from transformers.models.bert.modeling_bert import BertLayer

    for place, layer in enumerate(network.fusion.layers):
        plain = BertLayer(network.fusion.config, layer_idx=0).double().eval()
        plain.load_state_dict(layer.state_dict())
        attended, cross = plain.attention(states, mask[:, None, None, :])[0], plain.crossattention
        read = []
        for image, query, output in (
            (images[0], cross.self.query, cross.output.dense),
            (images[1], network.second.query[place], network.second.output[place]),
        ):
            bridged = network.fusion.bridge(image)
            queries, keys, values = query(attended), cross.self.key(bridged), cross.self.value(bridged)
            heads = []
            for columns in (slice(0, 16), slice(16, 32)):
                scores = queries[..., columns] @ keys[..., columns].transpose(1, 2) / 16**0.5
                heads.append(scores.softmax(dim=2) @ values[..., columns])
            read.append(output(torch.cat(heads, dim=2)))
        merge = network.second.merge[0]  # of the second of two layers
        both = (read[0] + read[1]) / 2 if place == 0 else merge(torch.cat(read, dim=2))
        states = plain.feed_forward_chunk(cross.output.LayerNorm(both + attended))
    torch.testing.assert_close(found, states * mask[:, :, None], rtol=0, atol=1e-8)


@torch.no_grad()
def test_the_order_of_the_images_matters_and_the_second_has_no_keys_of_its_own() -> None:
    network = small(PairReasoner)
    pixels, pixels_2, tokens, mask = given()
    one = network.compare(pixels, pixels_2, tokens, mask)
    assert (one - network.compare(pixels_2, pixels, tokens, mask)).abs().min() > 1e-6
    parts = {name.split(".")[0] for name in network.second.state_dict()}
    assert parts == {"query", "output", "merge"}
    assert len(network.second.merge) == 1
    network.second.start_from(network.fusion)
    for place, layer in enumerate(network.fusion.layers):
        attention = layer.crossattention
        for ours, theirs in (
            (network.second.query[place], attention.self.query),
            (network.second.output[place], attention.output.dense),
        ):
            assert torch.equal(ours.weight, theirs.weight)
            assert torch.equal(ours.bias, theirs.bias)


@torch.no_grad()
def test_two_equal_images_are_read_as_one_by_a_layer_that_averages() -> None:
    """So a start from a trained fusion encoder keeps what its lower layers do."""
    network = small(PairReasoner)
    network.second.start_from(network.fusion)
    pixels, _, tokens, mask = given()
    states, image = text_tokens(network.text, tokens, mask), image_tokens(network.image, pixels)
    network.second.merge = torch.nn.ModuleList()  # all layers average
    found, _ = fuse_two_images(network.fusion, network.second, states, mask, (image, image))
    torch.testing.assert_close(found, network.fusion(states, mask, image), rtol=0, atol=1e-10)


def test_attention_comes_with_the_same_logits_and_with_a_graph_even_if_all_is_frozen() -> None:
    entailer, reasoner = small(EntailmentNetwork), small(PairReasoner)
    pixels, pixels_2, tokens, mask = given()
    for network in (entailer, reasoner):
        network.requires_grad_(False)
    logits, (one,) = entailer.entail_attention(pixels, tokens, mask, layer=0)
    torch.testing.assert_close(logits, entailer.entail(pixels, tokens, mask), rtol=0, atol=1e-10)
    both, two = reasoner.compare_attention(pixels, pixels_2, tokens, mask, layer=0)
    torch.testing.assert_close(both, reasoner.compare(pixels, pixels_2, tokens, mask), rtol=0, atol=1e-10)
    for score, weights in ((logits, (one,)), (both, two)):
        for gradient in torch.autograd.grad(score[:, 1].sum(), weights):
            assert gradient.abs().max() > 0
    sums = torch.stack([one.sum(-1), *(weights.sum(-1) for weights in two)])
    torch.testing.assert_close(sums, torch.ones_like(sums))


def test_a_spec_is_built_again_with_its_classes() -> None:
    for kind in (EntailmentNetwork, PairReasoner):
        network = small(kind, ("contradiction", "entailment", "neutral"))
        again = network_from_spec(network.spec())
        assert again.classes == ["contradiction", "entailment", "neutral"]  # type: ignore[attr-defined]
        again.load_state_dict(network.state_dict())
        for classes in ("true", [1, 2], ["one"], ["same", "same"]):
            with pytest.raises(ModelError, match="classes are not"):
                network_from_spec(network.spec() | {"classes": classes})


def test_a_head_of_other_classes_is_not_taken_over() -> None:
    trained, fresh = (
        small(EntailmentNetwork),
        small(EntailmentNetwork, ("contradiction", "entailment", "neutral")),
    )
    state = fitting_state(trained, fresh)
    head = {name: value for name, value in fresh.state_dict().items() if name.startswith("head.")}
    assert all(torch.equal(state[name], value) for name, value in head.items())
    theirs = trained.state_dict()
    assert all(torch.equal(state[name], theirs[name]) for name in theirs if name not in head)
    same = small(EntailmentNetwork)
    assert all(torch.equal(value, theirs[name]) for name, value in fitting_state(trained, same).items())
