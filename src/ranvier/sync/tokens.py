"""Sync tokens: a position in the log, and one in what passes away."""

import re
from typing import NamedTuple

from ranvier.protocol.refusal import invalid_param

_FORM = re.compile(r"s([0-9a-z]{1,16})_([0-9]{1,18})_([0-9a-z]{1,16})_([0-9]{1,18})\Z")


class SyncToken(NamedTuple):
    """How far a client has read.

    `generation` is the log's, renewed when a backup is restored; `epoch` and `counter` place typing, which lives in
    memory only: another epoch means that current typing is sent again.
    """

    generation: str
    position: int
    epoch: str
    counter: int

    def __str__(self) -> str:
        return f"s{self.generation}_{self.position}_{self.epoch}_{self.counter}"


def parse(text: str) -> SyncToken:
    """The token of its text; refuses what never was one."""
    form = _FORM.match(text)
    if form is None:
        raise invalid_param("This is no token of this server's sync: use the 'next_batch' of an earlier answer.")
    return SyncToken(form[1], int(form[2]), form[3], int(form[4]))
