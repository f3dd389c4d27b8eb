"""The base images that the engine offers: each kind of server, from this clone or its own environment."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from complement.databases import Databases

TREE = Path(__file__).resolve().parents[2]


class LocalServer:
    """A kind of server as local processes, with SQLite, or with a PostgreSQL database for each container."""

    def __init__(self, module: str, databases: Databases | None = None, **environment: str) -> None:
        self.module = module
        self._databases = databases
        self._environment = environment

    @property
    def command(self) -> Sequence[str]:
        """The container's first process, with the interpreter that runs this."""
        return (sys.executable, "-m", self.module)

    def environment(self, container_id: str) -> Mapping[str, str]:
        """With PostgreSQL: where the container's database is; it is made when it is missing."""
        found = {"PYTHONPATH": str(TREE), "PYTHONDONTWRITEBYTECODE": "1", **self._environment}
        if self._databases is not None:
            found["DATABASE_URL"] = self._databases.make(container_id)
        return found

    def copied(self, source_id: str, target_id: str) -> None:
        """The database goes with the files."""
        if self._databases is not None:
            self._databases.copy(source_id, target_id)

    def removed(self, identifier: str) -> None:
        """So it does at the end."""
        if self._databases is not None:
            self._databases.drop(identifier)
