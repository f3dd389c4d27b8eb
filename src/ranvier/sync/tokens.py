"""Sync tokens: a position in the log, and one in what passes away."""

import re
from typing import NamedTuple

from ranvier.protocol.refusal import invalid_param

_FORM = re.compile(r"s([0-9a-z]{1,16})_([0-9]{1,18})_([0-9a-z]{1,16})_([0-9]{1,18})(?:_([0-9]{1,18}))?\Z")


class SyncToken(NamedTuple):
    """How far a client has read.

    `generation` is the log's, renewed when a backup is restored; `epoch` and `counter` place typing and presence,
    which live in memory only: another epoch means that what is true now is sent again. `to_device` is how far messages
    to the device were given, which is less than `position` when more waited than one answer takes.
    """

    generation: str
    position: int
    epoch: str
    counter: int
    to_device: int

    def __str__(self) -> str:
        text = f"s{self.generation}_{self.position}_{self.epoch}_{self.counter}"
        return text if self.to_device == self.position else f"{text}_{self.to_device}"


def parse(text: str) -> SyncToken:
    """The token of its text; refuses what never was one."""
    form = _FORM.match(text)
    if form is None:
        raise invalid_param(
            "This is no token of this server's sync: use the 'next_batch' of an earlier answer."
        )
    position = int(form[2])
    to_device = min(int(form[5]), position) if form[5] is not None else position
    return SyncToken(form[1], position, form[3], int(form[4]), to_device)
