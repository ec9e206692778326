"""Generated sounds: one to three synthesised events in a row, with captions and labels."""

from likewise.data.sounds.generate import GeneratedSounds, make_sounds

__all__ = ["GeneratedSounds", "make_sounds"]
