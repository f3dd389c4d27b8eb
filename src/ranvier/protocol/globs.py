"""Glob patterns: `*` stands for any characters or none, `?` for exactly one.

Patterns and texts come from strangers, so nothing here backtracks: a pattern is cut at its stars into pieces
of fixed length, and each piece is sought once, from left to right. Texts are compared as given; who wants to
ignore case folds both sides first (`fold`).

Source: Appendices, "Glob-style matching"; the word boundary: Client-Server API, "Push rules".
"""

import re
from typing import Final

MAX_MISSES: Final = 1000
"""After so many occurrences that begin or end inside a word, the search in a text is given up."""

_WORD_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


def fold(text: str) -> str:
    """The text without the difference of upper and lower case."""
    return text.lower()


def has_wildcards(pattern: str) -> bool:
    """Whether the pattern can match another text than itself."""
    return "*" in pattern or "?" in pattern


class _Piece:
    """What stands between two stars: characters and `?`, so of a fixed length."""

    __slots__ = ("_regex", "length", "literal")

    def __init__(self, piece: str, question_marks: bool) -> None:
        self.length = len(piece)
        self.literal = piece
        self._regex: re.Pattern[str] | None = None
        if question_marks and "?" in piece:
            source = "".join("." if character == "?" else re.escape(character) for character in piece)
            self._regex = re.compile(source, re.DOTALL)

    def find(self, text: str, start: int) -> int:
        """Where the piece first occurs at or after `start`; -1 if nowhere."""
        if self._regex is None:
            return text.find(self.literal, start)
        found = self._regex.search(text, start)
        return found.start() if found else -1

    def stands_at(self, text: str, position: int) -> bool:
        """Whether the piece occurs at the position."""
        if self._regex is None:
            return text.startswith(self.literal, position)
        return self._regex.match(text, position) is not None


class Glob:
    """A pattern, compiled once. Matching takes time by the text's length times the number of pieces.

    Without `question_marks`, a `?` stands for itself, as in filters, which only know the star.
    """

    __slots__ = ("_first", "_last", "_middle", "_single")

    def __init__(self, pattern: str, *, question_marks: bool = True) -> None:
        pieces = pattern.split("*")
        self._single = len(pieces) == 1
        self._first = _Piece(pieces[0], question_marks)
        self._last = _Piece(pieces[-1], question_marks)
        self._middle = tuple(_Piece(piece, question_marks) for piece in pieces[1:-1] if piece)

    def matches(self, text: str) -> bool:
        """Whether the whole text matches the pattern."""
        if self._single:
            return len(text) == self._first.length and self._first.stands_at(text, 0)
        end = len(text) - self._last.length
        if end < self._first.length or not self._first.stands_at(text, 0):
            return False
        position = self._skip_middle(text, self._first.length)
        return 0 <= position <= end and self._last.stands_at(text, end)

    def occurs_as_words(self, text: str) -> bool:
        """Whether a part of the text that starts and ends at a word boundary matches the pattern."""
        if self._single:
            return self._find_bounded(self._first, text, 0, at_start=True, at_end=True) >= 0
        position = self._find_bounded(self._first, text, 0, at_start=True, at_end=False)
        if position < 0:
            return False
        position = self._skip_middle(text, position + self._first.length)
        if position < 0:
            return False
        return self._find_bounded(self._last, text, position, at_start=False, at_end=True) >= 0

    def _skip_middle(self, text: str, position: int) -> int:
        # The leftmost place for each piece leaves the most room for those that follow, so no other need be
        # tried.
        for piece in self._middle:
            found = piece.find(text, position)
            if found < 0:
                return -1
            position = found + piece.length
        return position

    @staticmethod
    def _find_bounded(piece: _Piece, text: str, start: int, *, at_start: bool, at_end: bool) -> int:
        if piece.length == 0:
            return start  # beside a star, which reaches the start or end of the text; or an empty pattern
        for _ in range(MAX_MISSES):
            found = piece.find(text, start)
            if found < 0:
                return -1
            if (not at_start or is_word_boundary(text, found)) and (
                not at_end or is_word_boundary(text, found + piece.length)
            ):
                return found
            start = found + 1
        return -1


def contains_as_words(text: str, words: str) -> bool:
    """Whether the text contains the words, taken literally, between word boundaries."""
    start = 0
    for _ in range(MAX_MISSES):
        found = text.find(words, start)
        if found < 0:
            return False
        if is_word_boundary(text, found) and is_word_boundary(text, found + len(words)):
            return True
        start = found + 1
    return False


def is_word_boundary(text: str, position: int) -> bool:
    """Whether `text[:position]` and `text[position:]` part at a boundary of words, or one of them is empty."""
    if position <= 0 or position >= len(text):
        return True
    return text[position - 1] not in _WORD_CHARACTERS or text[position] not in _WORD_CHARACTERS


_WORDS: Final = re.compile(r"[A-Za-z0-9_]+")


def words_of(text: str) -> frozenset[str]:
    """The words of a text, as push rules understand them."""
    return frozenset(_WORDS.findall(text))


def is_word(pattern: str) -> bool:
    """Whether the pattern is one plain word, so that looking it up in `words_of` is enough."""
    return _WORDS.fullmatch(pattern) is not None
