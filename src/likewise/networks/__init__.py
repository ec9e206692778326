"""Networks that a model folder holds; one file each."""
