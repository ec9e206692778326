"""Metrics of texts: captions, answers, and embeddings of sentences."""
