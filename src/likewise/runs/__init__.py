"""A run: its folder, its settings, opening it again, and its data protocol."""
