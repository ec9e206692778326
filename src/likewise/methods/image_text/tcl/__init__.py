"""TCL: triple contrastive learning."""
