"""Text as words to look things up by, the same for both databases.

Case, width and the accents of Latin, Greek and Cyrillic letters make no difference. In scripts that put no spaces
between words each character is a piece of its own, and what is looked for must follow one another.
"""

import re
import unicodedata
from itertools import groupby
from typing import Final

MOST: Final = 10_000
"""Pieces of one text that are looked at."""
LONGEST: Final = 48
"""Characters of a piece; what is longer is cut, here and in what is looked for."""
_LONGEST_TEXT: Final = 65_536

_MARKS: Final = "".join(
    chr(code)
    for code in (*range(0x300, 0xAC00), *range(0xFE00, 0xFE30))
    if unicodedata.category(chr(code))[0] == "M"
)
_WORD: Final = re.compile(rf"(?:[^\W_]|[{_MARKS}])+")
_ACCENTS: Final = re.compile("[\u0300-\u036f]+")
_UNSPACED: Final = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x2E80, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
"""Thai and Lao, Burmese, Khmer, and the scripts of Chinese and Japanese."""

Run = tuple[str, ...]
"""Pieces that stand together: one for a word of a script with spaces, one for each character otherwise."""


def fold(text: str) -> str:
    """The text without what makes no difference."""
    if text.isascii():
        return text.lower()
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    return unicodedata.normalize("NFKC", plain)


def split(text: str) -> list[Run]:
    """The runs of a text, in order, up to `MOST` pieces."""
    runs: list[Run] = []
    pieces = 0
    for word in _WORD.findall(fold(text[:_LONGEST_TEXT])):
        for run in _runs_of(word):
            pieces += len(run)
            if pieces > MOST:
                return runs
            runs.append(run)
    return runs


def _runs_of(word: str) -> list[Run]:
    if word.isascii():
        return [(word[:LONGEST],)]
    runs: list[Run] = []
    for unspaced, group in groupby(word, _is_unspaced):
        characters = list(group)
        runs.append(tuple(characters) if unspaced else ("".join(characters)[:LONGEST],))
    return runs


def _is_unspaced(character: str) -> bool:
    code = ord(character)
    return any(first <= code <= last for first, last in _UNSPACED)


def beginnings(text: str, most: int) -> list[str]:
    """Up to `most` different words of a text by whose beginnings it may be found."""
    found: dict[str, None] = {}
    for run in split(text):
        starts = range(len(run)) if len(run) > 1 else (0,)
        for start in starts:
            found["".join(run[start:])[:LONGEST]] = None
            if len(found) == most:
                return list(found)
    return list(found)
