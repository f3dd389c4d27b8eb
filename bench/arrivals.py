"""The exactly-once checker: what was counted as done must really be there, once, and nothing else."""

from collections import Counter


class WrongCount(Exception):
    """Something that was answered for is missing, doubled, changed, or was never sent."""


class Arrivals:
    """Notes what was sent and what arrived, by id and content."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._sent: dict[str, str] = {}
        self._arrived: Counter[str] = Counter()
        self._faults: list[str] = []

    def __len__(self) -> int:
        return len(self._sent)

    def send(self, identifier: str, content: str = "") -> None:
        """This was answered as done. The same id for two different sendings is a fault."""
        if identifier in self._sent:
            self._faults.append(f"{identifier} was answered for two different sendings")
        self._sent[identifier] = content

    def arrive(self, identifier: str, content: str = "") -> None:
        """This was found where it belongs."""
        self._arrived[identifier] += 1
        expected = self._sent.get(identifier)
        if expected is None:
            self._faults.append(f"{identifier} arrived but was never answered for")
        elif expected != content:
            self._faults.append(f"{identifier} arrived as {content!r}, but was sent as {expected!r}")

    def check(self) -> str:
        """A sentence on what was checked; raises `WrongCount` with the first faults."""
        faults = list(self._faults)
        faults += [f"{i} is missing" for i in self._sent if not self._arrived[i]]
        faults += [f"{i} arrived {n} times" for i, n in self._arrived.items() if n > 1]
        if faults:
            shown = "; ".join(faults[:3])
            raise WrongCount(f"{len(faults)} faults among {len(self._sent)} {self.what}: {shown}")
        return f"{len(self._sent)} {self.what} found exactly once"


def expect_equal(what: str, found: object, expected: object) -> None:
    """Raise `WrongCount` when a count or a value is not what the work must have left behind."""
    if found != expected:
        raise WrongCount(f"{what}: found {found!r}, expected {expected!r}")
