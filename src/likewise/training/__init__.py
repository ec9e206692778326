"""Training: settings, the engine, checkpoints, the folder of a run."""

from likewise.runs.folder import RunFolder
from likewise.runs.settings import Settings, default_settings
from likewise.runs.training_options import TrainingConfig
from likewise.training.engine import train

__all__ = ["RunFolder", "Settings", "TrainingConfig", "default_settings", "train"]
