"""PostgreSQL databases for containers and images: one of each, named by its identifier, in one cluster."""

import subprocess
from pathlib import Path

from bench.postgresql import DATABASE_USER, Cluster, find_programs


class DatabaseFailed(Exception):
    """A command on the cluster failed; the sentence is PostgreSQL's."""


class Databases:
    """Made, copied and dropped with the containers whose state they are."""

    def __init__(self, folder: Path) -> None:
        self._cluster = Cluster(folder)
        self._programs = find_programs()
        self._known: set[str] = set()

    def start(self) -> None:
        """Make the cluster, and relax it: what a run leaves is thrown away."""
        # PostgreSQL may run as a user of its own, who must get through to its folder.
        self._cluster.folder.parent.chmod(0o711)
        self._cluster.start()
        for setting in ("fsync = off", "full_page_writes = off", "synchronous_commit = off"):
            self._run("psql", "-q", "-d", "postgres", "-c", f"ALTER SYSTEM SET {setting}")
        self._run("psql", "-q", "-d", "postgres", "-c", "SELECT pg_reload_conf()")

    def stop(self) -> None:
        """End the cluster."""
        self._cluster.stop()

    def make(self, identifier: str) -> str:
        """The URL of a container's database, which is made at the first asking."""
        name = _name(identifier)
        if name not in self._known:
            self._run("createdb", "-T", "template0", "-E", "UTF8", "--lc-collate=C", "--lc-ctype=C", name)
            self._known.add(name)
        return f"postgresql://{DATABASE_USER}@{self._cluster.host}:{self._cluster.port}/{name}"

    def copy(self, source: str, target: str) -> None:
        """A database of its own for `target`, with what `source` has; nobody may be connected to that."""
        if _name(source) in self._known:
            self._run("createdb", "-T", _name(source), _name(target))
            self._known.add(_name(target))

    def drop(self, identifier: str) -> None:
        """Drop what there is."""
        name = _name(identifier)
        if name in self._known:
            self._run("dropdb", "--if-exists", "--force", name)
            self._known.discard(name)

    def _run(self, program: str, *arguments: str) -> None:
        where = ("-h", self._cluster.host, "-p", str(self._cluster.port), "-U", DATABASE_USER)
        command = [str(self._programs / program), *where, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise DatabaseFailed(f"{program}: {done.stderr.strip()}")


def _name(identifier: str) -> str:
    return f"c_{identifier[:32]}"
