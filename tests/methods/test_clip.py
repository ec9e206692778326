"""CLIP, beyond what every method is checked for."""

from __future__ import annotations

import pytest
import torch
from small_methods import STEP

from likewise.encoders.image import ImageEncoderConfig
from likewise.encoders.text import TextEncoderConfig
from likewise.methods.base import BuildContext, TokenizerInfo
from likewise.methods.image_text import clip
from likewise.views import view_preset


@pytest.mark.parametrize(("loss", "gathered"), [("softmax", 3), ("sigmoid", 2)])
def test_images_are_gathered_for_the_loss_that_reads_them(
    loss: str, gathered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingredients = BuildContext(
        image=ImageEncoderConfig(image_size=32, width=32, depth=1),
        text=TextEncoderConfig(width=32, depth=1, heads=2),
        views={"views": view_preset("clip")},
        tokenizer=TokenizerInfo(50, None, ()),
        num_rows=4,
    )
    method = clip.CLIP(clip.Config(loss=loss, embedding_dim=8), ingredients)  # type: ignore[arg-type]
    images, texts = torch.randn(4, 8), torch.randn(4, 8)
    asked: list[torch.Tensor] = []

    def gather(rows: torch.Tensor) -> torch.Tensor:
        asked.append(rows)
        return rows

    monkeypatch.setattr(clip, "gather_rows", gather)
    terms = method.objective({"images": images, "texts": texts, "group": torch.arange(4)}, STEP)
    assert terms.total.isfinite()
    assert len(asked) == gathered
    assert any(rows is images for rows in asked) == (loss == "softmax")
