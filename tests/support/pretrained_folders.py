"""Small folders as transformers writes them, with random weights and tokenizers made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = [
    "A red circle, and two blue squares!",
    "a photo of a Dog",
    "two dogs run over the grass",
    "一只黑色的狗",
    "the quick brown fox jumps over the lazy dog " * 4,
]
POSITIONS = 16
_TOWER = {"num_hidden_layers": 2, "num_attention_heads": 2}


def write_tokenizer(folder: Path, family: str, *, older: bool = False) -> int:
    """A tokenizer.json with its options; returns the number of its entries.

    Args:
        folder: made if absent.
        family: of `write_two_towers`, or "bert".
        older: as of OpenAI's CLIP: one token, that of the highest id, ends and pads texts.
    """
    siglip, bert = "siglip" in family, family in ("chinese_clip", "bert")
    pad, begin, end = ("[PAD]", "[CLS]", "[SEP]") if bert else ("<pad>", "<s>", "</s>")
    tokenizer = Tokenizer(models.BPE(unk_token=None, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if not siglip:  # SigLIP's makes texts lower-case outside of its tokenizer.json
        tokenizer.normalizer = normalizers.Lowercase()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[pad, "[MASK]", begin, end],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*SENTENCES, *(text.lower() for text in SENTENCES)], trainer)
    if older:
        pad = end = "<|endoftext|>"
        tokenizer.add_special_tokens([end])
    single = f"$A {end}" if siglip else f"{begin} $A {end}"
    ids = [(token, tokenizer.token_to_id(token)) for token in (begin, end)]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=ids)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    kinds = {"siglip": "SiglipTokenizer", "siglip2": "Siglip2Tokenizer", "chinese_clip": "BertTokenizer"}
    options = {
        "tokenizer_class": kinds.get(family, "PreTrainedTokenizerFast"),
        "pad_token": end if family == "siglip" else {"content": pad},
        "model_max_length": POSITIONS,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(options))
    return int(tokenizer.get_vocab_size())


def write_two_towers(
    folder: Path, family: str, *, width: int = 16, side: int = 32, older: bool = False
) -> Any:
    """A model of two towers with its tokenizer and image processor; returns the transformers model."""
    import transformers

    entries = write_tokenizer(folder, family, older=older)
    vision = {**_TOWER, "hidden_size": width, "intermediate_size": 2 * width, "patch_size": 8}
    text = {
        **_TOWER,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "vocab_size": entries,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 2 if older else 3,  # 2 means the highest id, as OpenAI's models were converted
    }
    torch.manual_seed(width)
    image_size = {"num_patches": (side // 8) ** 2} if family == "siglip2" else {"image_size": side}
    towers = {"vision_config": vision | image_size, "text_config": text}
    match family:
        case "clip":
            model: Any = transformers.CLIPModel(transformers.CLIPConfig(**towers, projection_dim=width + 4))
        case "siglip":
            model = transformers.SiglipModel(transformers.SiglipConfig(**towers))
        case "siglip2":
            model = transformers.Siglip2Model(transformers.Siglip2Config(**towers))
        case "chinese_clip":
            model = transformers.ChineseCLIPModel(
                transformers.ChineseCLIPConfig(**towers, projection_dim=width + 4)
            )
        case _:
            config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
                transformers.ViTConfig(**towers["vision_config"]),
                transformers.BertConfig(**text),
                projection_dim=width + 4,
            )
            model = transformers.VisionTextDualEncoderModel(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name and weight.ndim:  # a start of training has nearly equal vectors
                weight.add_(0.3 * torch.randn_like(weight))
        model.logit_scale.fill_(3.0)
    model.eval().save_pretrained(folder)
    write_processor(folder, side, crop=family == "clip")
    return model


def write_processor(folder: Path, side: int, *, crop: bool) -> None:
    """The options of an image processor, with a normalization of its own."""
    options: dict[str, Any] = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3]}
    if crop:
        options |= {
            "do_center_crop": True,
            "crop_size": {"height": side, "width": side},
            "size": {"shortest_edge": side},
        }
    else:
        options |= {"do_center_crop": False, "size": {"height": side, "width": side}}
    (folder / "preprocessor_config.json").write_text(json.dumps(options))
