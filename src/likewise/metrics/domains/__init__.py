"""Scores of a model in a domain without labels, and the distance between two domains."""
