"""Gives the contenders of captioning_speed.py our captioners' weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from likewise.encoders.decoders import AttendingDecoder
from likewise.methods.image_text.captioning import Captioning

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from tutorial_captioner import TutorialCaptioner

__all__ = ["weights_to_transformers", "weights_to_tutorial"]


@torch.no_grad()
def weights_to_transformers(method: Captioning, model: Any) -> None:
    """Give transformers' model our weights. It also attends to the ViT's [CLS], of which ours has no key."""
    network: Any = method.network
    model.encoder.load_state_dict(network.image.backbone.state_dict(), strict=False)
    ours, theirs = network.decoder, model.decoder.transformer
    theirs.wte.weight.copy_(ours.embedding.weight)
    theirs.wpe.weight.copy_(ours.positions)
    theirs.ln_f.load_state_dict(ours.norm.state_dict())
    for layer, block in zip(ours.layers, theirs.h, strict=True):
        for norm, other in zip(layer.norms, (block.ln_1, block.ln_cross_attn, block.ln_2), strict=True):
            other.load_state_dict(norm.state_dict())
        for linear, conv in (
            (layer.self_qkv, block.attn.c_attn),
            (layer.self_output, block.attn.c_proj),
            (layer.cross_query, block.crossattention.q_attn),
            (layer.cross_kv, block.crossattention.c_attn),
            (layer.cross_output, block.crossattention.c_proj),
            (layer.widen, block.mlp.c_fc),
            (layer.narrow, block.mlp.c_proj),
        ):
            conv.weight.copy_(linear.weight.T)  # GPT-2 keeps its weights transposed
            conv.bias.copy_(linear.bias)


@torch.no_grad()
def weights_to_tutorial(ours: AttendingDecoder, theirs: TutorialCaptioner) -> None:
    """Give the tutorial's decoder our weights; it has no separate gates, and order i, f, g, o as ours."""
    theirs.embedding.weight.copy_(ours.embedding.weight)
    theirs.output.bias.copy_(ours.output_bias)
    theirs.cell.weight_ih.copy_(torch.cat([ours.token_gates.weight, ours.context_gates.weight], dim=1))
    theirs.cell.bias_ih.copy_(ours.token_gates.bias)
    theirs.cell.weight_hh.copy_(ours.hidden_gates.weight)
    theirs.cell.bias_hh.copy_(ours.hidden_gates.bias)
    for own, other in (
        (ours.begin_hidden, theirs.begin_hidden),
        (ours.begin_cell, theirs.begin_cell),
        (ours.memory_keys, theirs.attention.memory),
        (ours.hidden_query, theirs.attention.hidden),
        (ours.energy, theirs.attention.energy),
        (ours.context_gate, theirs.gate),
        (ours.hidden_output, theirs.hidden_output),
        (ours.context_output, theirs.context_output),
        (ours.tied_output, theirs.tied_output),
    ):
        other.load_state_dict(own.state_dict())
