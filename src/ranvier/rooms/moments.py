"""The clock of what lives in memory only: typing and presence.

An epoch names this memory: a client whose token names another one is sent what is true now.
"""

import secrets

_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Moments:
    """One counter for all of it, so that one number in a sync token tells how much of it the client has heard."""

    def __init__(self) -> None:
        self.epoch = "".join(secrets.choice(_CHARACTERS) for _ in range(8))
        self.counter = 0

    def next(self) -> int:
        """The number of a change that happens now."""
        self.counter += 1
        return self.counter
