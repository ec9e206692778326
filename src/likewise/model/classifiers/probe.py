"""A fitted linear probe as a file: classes of a model's vectors.

The file is a safetensors file. Its header holds, as JSON, what the probe is and how well it did; opening a
stranger's probe runs no code.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.atomic_files import written_whole
from likewise.errors import ModelError
from likewise.messages import first_line
from likewise.metrics.linear_probe import LinearProbe
from likewise.search.embedder import Embedder, model_fingerprint

__all__ = ["Probe"]

_FORMAT = 1
_KEY = "likewise_probe"
_ARRAYS = ("mean", "scale", "weights", "bias")
_DESCRIBED = {"format": int, "model": dict, "temperature": float, "classes": list, "figures": dict}


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear classifier of one model's unit vectors.

    Attributes:
        classes: names of the C classes.
        fitted: the numbers of the classifier; its class i is `classes[i]`.
        model: `method` and `fingerprint` of the model.
        figures: how it was fitted and how well it did: any JSON values by name.
    """

    classes: tuple[str, ...]
    fitted: LinearProbe
    model: dict[str, str]
    figures: dict[str, Any]

    @classmethod
    def of(
        cls, model: Embedder, fitted: LinearProbe, names: list[str] | None, figures: dict[str, Any]
    ) -> Probe:
        """A probe of the model.

        Args:
            model: made the vectors that the probe was fitted on.
            fitted: the classifier.
            names: of all classes of the data, by number; the numbers themselves when None.
            figures: see above.
        """
        classes = tuple(str(number) if names is None else names[number] for number in fitted.classes)
        made_by = {"method": str(model.config["method"]), "fingerprint": model_fingerprint(model)}
        return cls(classes, fitted, made_by, figures)

    def probabilities(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, C) float32 of the model's unit vectors (N, D); rows sum to one."""
        return np.asarray(self.fitted.probabilities(vectors), np.float32)

    def check_model(self, model: Embedder) -> None:
        """Check that the model is the one whose vectors the probe was fitted on.

        Raises:
            ModelError: it is another.
        """
        if model_fingerprint(model) != self.model["fingerprint"]:
            raise ModelError(
                f"the probe was fitted on vectors of another model ({self.model['method']}, fingerprint "
                f"{self.model['fingerprint'][:8]}), and means nothing for those of this one "
                f"({model.config['method']}); fit one with `likewise evaluate RUN probe --save-probe NAME`."
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all; one that is there is replaced.

        Raises:
            WriteError: it cannot be written.
        """
        from safetensors.numpy import save

        described = {
            "format": _FORMAT,
            "model": self.model,
            "temperature": self.fitted.temperature,
            "classes": self.classes,
            "figures": self.figures,
        }
        arrays = {name: np.ascontiguousarray(getattr(self.fitted, name)) for name in _ARRAYS}
        data = save(arrays, {_KEY: json.dumps(described, ensure_ascii=False)})
        with written_whole(Path(path)) as beside:
            beside.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(data)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Probe:
        """Read a file that `save` wrote.

        Raises:
            ModelError: there is none, or it is damaged.
        """
        from safetensors import SafetensorError, safe_open

        if not os.path.isfile(path):
            raise ModelError(f"there is no probe {os.fspath(path)}.")
        try:
            with safe_open(os.fspath(path), framework="numpy") as opened:
                described = json.loads((opened.metadata() or {})[_KEY])
                arrays = {name: opened.get_tensor(name) for name in _ARRAYS}
            return _checked(described, arrays)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else first_line(error)
            raise ModelError(f"{os.fspath(path)} is not a probe, or damaged ({reason}).") from error


def _checked(described: dict[str, Any], arrays: dict[str, NDArray[np.float64]]) -> Probe:
    """The probe; ValueError, TypeError or KeyError where the parts do not fit together."""
    for name, kind in _DESCRIBED.items():
        if not isinstance(described[name], kind):
            raise ValueError(f"{name!r} is wrong")
    if described["format"] != _FORMAT:
        raise ValueError(f"format {described['format']}, and this version reads {_FORMAT}")
    classes, made_by = described["classes"], described["model"]
    if not all(isinstance(one, str) for one in (*classes, made_by["method"], made_by["fingerprint"])):
        raise ValueError("names must be texts")
    num_classes, dim = arrays["weights"].shape
    shapes = {"mean": (dim,), "scale": (dim,), "weights": (len(classes), dim), "bias": (num_classes,)}
    for name, array in arrays.items():
        if array.shape != shapes[name] or array.dtype != np.float64 or not np.isfinite(array).all():
            raise ValueError(f"{name!r} has another shape, or numbers that are not finite")
    if num_classes < 2 or not described["temperature"] > 0:
        raise ValueError("fewer than two classes, or a temperature that is not above 0")
    fitted = LinearProbe(
        classes=np.arange(num_classes), temperature=described["temperature"], **arrays
    )  # names stand for the numbers that the classes had
    return Probe(tuple(classes), fitted, made_by, described["figures"])
