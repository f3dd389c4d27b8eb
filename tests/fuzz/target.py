"""What a fuzz target is: a parser of strangers' bytes, and what must hold of it whatever they are."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ranvier.protocol import canonical_json

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True)
class Target:
    """`holds` is the invariant in words; `run` raises AssertionError, or any other error, if it does not hold."""

    name: str
    holds: str
    run: Callable[[bytes], None]

    @property
    def corpus(self) -> Path:
        """The folder of the inputs that are kept."""
        return CORPUS / self.name


def text_of(data: bytes) -> str:
    """Any text, lone surrogates included: as JSON can hold them until somebody looks."""
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    return text[:20_000]


def json_of(data: bytes) -> Any:
    """A body as requests bring it; None if it is no JSON."""
    try:
        return canonical_json.decode(data)
    except canonical_json.BadJson:
        return None


def lax_json_of(data: bytes) -> Any:
    """JSON with whatever Python reads: NaN, huge integers, lone surrogates, repeated keys."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
