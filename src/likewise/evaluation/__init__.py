"""Evaluation: from a trained model and data to figures. The tasks are in `tasks/`, one file each."""
