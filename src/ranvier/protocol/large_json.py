"""JSON of any size, decoded so that no step of it is long: other threads get their turn in between."""

import codecs
import json
import re
from typing import Any, Final

from ranvier.protocol.canonical_json import MAX_NESTING, BadJson, NotJson, decode

_WINDOW: Final = 128 * 1024
"""Bytes that are looked at once; an entry that is longer doubles it."""
_CUT: Final = len("e+")
"""Characters that may follow a number before more digits do."""
_BLANK: Final = re.compile(r"[ \t\n\r]*")
_SCAN: Final = json.JSONDecoder().raw_decode


def decode_large(data: bytes, *, lossy_integers: bool = False) -> Any:
    """As `canonical_json.decode`, where an object's arrays are decoded entry by entry.

    For a thread, and for what has many entries: it takes twice as long. Raises NotJson, BadJson.
    """
    text = _Text(data)
    if text.next() != "{":
        return decode(data, lossy_integers=lossy_integers)
    text.skip("{")
    found: dict[str, Any] = {}
    is_first = True
    while text.next() != "}":
        if not is_first:
            text.skip(",")
        is_first = False
        if text.next() != '"':
            raise NotJson("This is not JSON: a key is expected.")
        key = decode(text.value())
        text.skip(":")
        if key in found:
            raise BadJson("A key appears twice in one object.")
        found[key] = _member(text, lossy_integers=lossy_integers)
    text.skip("}")
    if text.next():
        raise NotJson("This is not JSON: more follows after its end.")
    return found


def _member(text: "_Text", *, lossy_integers: bool) -> Any:
    if text.next() != "[":
        return decode(text.value(), lossy_integers=lossy_integers, max_nesting=MAX_NESTING - 1)
    text.skip("[")
    entries: list[Any] = []
    while text.next() != "]":
        if entries:
            text.skip(",")
        entries.append(decode(text.value(), lossy_integers=lossy_integers, max_nesting=MAX_NESTING - 2))
    text.skip("]")
    return entries


class _Text:
    """A place in UTF-8 encoded text, of which only a window is held as a string."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._read = 0
        self._codec = codecs.getincrementaldecoder("utf-8")()
        self._window = ""
        self._at = 0
        self._size = _WINDOW

    def next(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            blank = _BLANK.match(self._window, self._at)
            assert blank is not None, "it matches nothing, too"
            self._at = blank.end()
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._more():
                return ""

    def skip(self, character: str) -> None:
        """Go past this character."""
        if self.next() != character:
            raise NotJson(f"This is not JSON: '{character}' is expected.")
        self._at += 1

    def value(self) -> bytes:
        """The value that begins here, as it stands; go past it."""
        self.next()
        while True:
            try:
                _, end = _SCAN(self._window, self._at)
            except RecursionError:
                raise BadJson("Too many arrays and objects within each other.") from None
            except ValueError as error:
                if not self._more():
                    raise NotJson(f"This is not JSON: {error}.") from None
                continue
            # A number may go on beyond the window: 1 is read of 1.5 where that ends with the point.
            if end + _CUT < len(self._window) or not self._more():
                value, self._at = self._window[self._at : end], end
                return value.encode(errors="surrogatepass")

    def _more(self) -> bool:
        """Hold more of what follows; false if nothing does."""
        if self._read == len(self._data):
            return False
        if self._at == 0:
            self._size *= 2
        part = self._data[self._read : self._read + self._size]
        self._read += len(part)
        try:
            text = self._codec.decode(part, final=self._read == len(self._data))
        except UnicodeDecodeError as error:
            raise NotJson(f"This is not JSON: {error}.") from None
        self._window = self._window[self._at :] + text
        self._at = 0
        return True
