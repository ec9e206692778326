"""The model card of an exported folder."""

from __future__ import annotations

from likewise.export.check import MOST_APART
from likewise.export.probes import NUM_PROBES
from likewise.export.registry import Written
from likewise.model.folder import training_section
from likewise.model.model import Model

__all__ = ["card"]

_FITS = {
    "crop": "the middle square is cut out",
    "pad": "the whole image stands on grey",
    "squash": "the whole image is squeezed",
}


def card(model: Model, written: Written, differences: dict[str, float]) -> str:
    """The text of README.md."""
    tags = ", ".join(dict.fromkeys((written.library, "feature-extraction", *written.tags)))
    example = [f"print({name}({given}))" for name, given in _EXAMPLES.items() if written.usage.defines(name)]
    lines = [
        "---",
        f"library_name: {written.library}",
        f"tags: [{tags}]",
        "---",
        "",
        f"# Embeddings of {model.dim} dimensions",
        "",
        f"Trained with Likewise (method {model.config['method']}), written for {written.library}.",
        *(f"\n{note}" for note in written.notes),
        "",
        "## Use",
        "",
        "```python",
        written.usage.text("path/to/this/folder"),
        "",
        "",
        *example,
        "```",
        "",
        "Both functions give unit vectors; products of them are cosines."
        if len(example) > 1
        else "It gives unit vectors; products of them are cosines.",
        *_on_images(model, written),
        "",
        "## Checked",
        "",
        *(
            f"- {NUM_PROBES} {what} through the trained model and through this code: the largest difference "
            f"of a coordinate was {value:.1e} (allowed: {MOST_APART:.0e})."
            for what, value in differences.items()
        ),
        "",
        *training_section(model),
    ]
    return "\n".join(lines)


_EXAMPLES = {
    "encode_images": '[Image.open("photo.jpg")]',
    "encode_texts": '["a text", "another one"]',
}


def _on_images(model: Model, written: Written) -> list[str]:
    if not written.usage.defines("encode_images"):
        return []
    options, size = model.config["images"], model.image_encoder.image_size
    stored = options["store_size"] or size
    through = "" if stored == size else f"; training went there by way of {stored} px"
    return [
        "",
        f"Images become squares of {size} px ({_FITS[options['fit']]}){through}. Turn photos upright first "
        "(`ImageOps.exif_transpose`).",
    ]
