"""Hand-tuned layers in place of the plain ones of transformers."""
