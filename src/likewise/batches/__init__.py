"""Batches: how rows are drawn, collated, tokenized and loaded."""
