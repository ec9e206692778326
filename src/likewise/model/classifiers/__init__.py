"""Classifiers of a model's vectors: by the names of classes, or by a fitted probe."""
