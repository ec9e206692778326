"""Evaluation tasks: from a trained model and data to figures; the metrics are in `likewise.metrics`."""
