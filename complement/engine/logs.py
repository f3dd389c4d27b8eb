"""Logs in the form in which the engine's API streams them."""

import struct

STDOUT = 1


def frame(content: bytes) -> bytes:
    """One frame of a stream without a terminal: the kind of stream, three zero bytes, the length, the bytes."""
    return struct.pack(">BxxxL", STDOUT, len(content)) + content if content else b""
