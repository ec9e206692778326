"""Figures of generated texts: captions and answers."""
