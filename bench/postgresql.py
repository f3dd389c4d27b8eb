"""A PostgreSQL cluster of its own, with default settings, that lives as long as one run."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

ACCOUNT = "postgres"  # PostgreSQL refuses to run as root; this account then runs it
DATABASE_USER = "bench"


class DatabaseFailed(Exception):
    """PostgreSQL is missing or did not start; the sentence names the log's last lines."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_programs() -> Path:
    """The folder of the newest PostgreSQL's programs, or of the first on the PATH."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: int(path.parent.parent.name),
        reverse=True,
    )
    found = folders[0] if folders else shutil.which("initdb")
    if found is None:
        raise DatabaseFailed("PostgreSQL's initdb was not found; install PostgreSQL or use --database sqlite")
    return Path(found).parent


class Cluster:
    """One cluster under `folder`; databases are named by who uses them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = free_port()
        self._programs = find_programs()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "postgresql.log"

    @property
    def pids(self) -> list[int]:
        return [self._process.pid] if self._process else []

    def start(self) -> None:
        """Make the cluster and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(self.folder, ACCOUNT, ACCOUNT)
        data = self.folder / "data"
        self._run("initdb", "-D", str(data), "-U", DATABASE_USER, "--no-locale", "-E", "UTF8", "-A", "trust")
        command = [
            *self._as_account(),
            str(self._programs / "postgres"),
            *("-D", str(data), "-p", str(self.port), "-k", str(self.folder), "-h", self.host),
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + 30
        while not self._ready():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise DatabaseFailed(f"PostgreSQL did not start: {self._log.read_text()[-800:]}")
            time.sleep(0.05)

    def create(self, database: str) -> None:
        """A new, empty database of this name; one that stands already is dropped."""
        connection = ("-h", self.host, "-p", str(self.port), "-U", DATABASE_USER)
        self._run("dropdb", *connection, "--if-exists", database)
        self._run(
            "createdb",
            *connection,
            "-T",
            "template0",
            "-E",
            "UTF8",
            "--lc-collate=C",
            "--lc-ctype=C",
            database,
        )

    def stop(self) -> None:
        """A fast shutdown, or a hard one after 15 s."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
            return
        process.send_signal(signal.SIGQUIT)
        process.wait(15)

    def _as_account(self) -> list[str]:
        if os.getuid() != 0:
            return []
        return ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--clear-groups"]

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_account(), str(self._programs / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False)
        if done.returncode:
            raise DatabaseFailed(f"{program} failed: {done.stderr[-800:]}")

    def _ready(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-q", "-h", self.host, "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0
