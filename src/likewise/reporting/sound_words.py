"""The words of a report on sounds: those of a report on images, with sounds in their place."""

from __future__ import annotations

import re

from likewise.methods.on_sounds import in_sounds

__all__ = ["template_in_sounds"]

# Tags, statements and expressions stay as they are, but for the sentences in them.
_PARTS = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|<[^>]*>|[^<{]+|.", re.DOTALL)
_SENTENCES = re.compile(r'"[^"<>]* [^"<>]*"')


def template_in_sounds(html: str) -> str:
    """A template, or markup of ours, in words of sounds; what users wrote is filled in later and stays."""

    def changed(part: re.Match[str]) -> str:
        text = part[0]
        if text.startswith("<"):
            return text
        if text.startswith(("{{", "{%")):
            return _SENTENCES.sub(lambda sentence: in_sounds(sentence[0]), text)
        return in_sounds(text)

    return _PARTS.sub(changed, html)
