"""The routes, each file those of one kind."""
