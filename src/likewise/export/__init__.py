"""Writes models in formats of other libraries, one file a format; `registry` finds them."""
