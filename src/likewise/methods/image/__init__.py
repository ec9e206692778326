"""Methods that learn from images alone."""
