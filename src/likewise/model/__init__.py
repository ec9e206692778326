"""A trained model as users meet it."""

from likewise.model.model import ImageInput, Model, load

__all__ = ["ImageInput", "Model", "load"]
