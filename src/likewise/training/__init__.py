"""Training: settings, the engine, checkpoints, the folder of a run."""

from likewise.training.engine import train
from likewise.training.options import TrainingConfig
from likewise.training.run import RunFolder
from likewise.training.settings import Settings, default_settings

__all__ = ["RunFolder", "Settings", "TrainingConfig", "default_settings", "train"]
