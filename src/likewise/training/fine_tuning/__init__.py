"""Fine-tuning of pre-trained encoders: which weights move, what is kept of the start, what is forgotten."""
