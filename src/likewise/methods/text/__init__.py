"""Methods that learn from texts alone."""
