"""Sound files: decoding, the cache, and columns of sounds."""
