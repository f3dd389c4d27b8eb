"""What the accounts floor asks of rate limits: the buckets themselves belong to the floor above."""

from typing import Protocol


class AttemptLimits(Protocol):
    """Buckets by name, counted by user."""

    def count(self, name: str, key: str) -> None:
        """Count one attempt; raises `Refusal` (M_LIMIT_EXCEEDED) if it comes too soon."""
        ...

    def check(self, name: str, key: str) -> None:
        """Raises `Refusal` if the next attempt would come too soon; counts nothing."""
        ...
