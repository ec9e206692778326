"""Images: references, decoding, the decoded cache, duplicates."""
