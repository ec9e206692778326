"""Methods that learn from labelled images."""
