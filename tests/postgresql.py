"""A PostgreSQL of a test's own, which it may stop, restart and kill; and a PgBouncer before it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ACCOUNT = "postgres"
SERVER_OPTIONS = "-c max_connections=60 -c fsync=off -c full_page_writes=off"


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, the newest version's."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    program = shutil.which("initdb")
    return Path(program).parent if program else None


def as_postgres(command: list[str]) -> list[str]:
    """The command as PostgreSQL's own user, which Debian's package made: it refuses to run as root."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--clear-groups", *command]


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


class PostgresServer:
    """A cluster in a folder, on a TCP port of this machine and on a Unix socket in the folder.

    Whoever comes over TCP needs a password; `postgres` comes over the socket without one.
    """

    def __init__(self, folder: Path) -> None:
        found = programs()
        if found is None:
            pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
        self._programs = found
        self.folder = folder
        self.port = _free_port()

    def make(self) -> None:
        """The cluster's files."""
        if os.geteuid() == 0:
            shutil.chown(self.folder, ACCOUNT, ACCOUNT)
        self._run("initdb", "-U", ACCOUNT, "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        access = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self.folder / "data" / "pg_hba.conf").write_text(access)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-k {self.folder} -p {self.port} -c listen_addresses=127.0.0.1 {SERVER_OPTIONS}"
        self._run("pg_ctl", "-w", "-o", options, "-l", str(self.folder / "log"), "start")

    def stop(self, how: str = "fast") -> None:
        """Stop it: `fast` ends all sessions, `immediate` is as when it crashes."""
        self._run("pg_ctl", "-w", "-m", how, "stop")

    def restart(self, how: str = "fast") -> None:
        """Stop and start it."""
        self.stop(how)
        self.start()

    def kill_a_backend(self) -> None:
        """kill -9 of one session's process, if there is any; PostgreSQL then ends all others and recovers."""
        pid = self.query(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() LIMIT 1"
        )
        with contextlib.suppress(ProcessLookupError):
            if pid:
                os.kill(int(pid), signal.SIGKILL)

    def query(self, sql: str, database: str = "postgres") -> str:
        """What psql prints."""
        command = [
            "psql",
            "-h",
            str(self.folder),
            "-p",
            str(self.port),
            "-U",
            ACCOUNT,
            "-d",
            database,
            "-Atc",
            sql,
        ]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self.folder / "data"), *arguments]
        ended = subprocess.run(
            as_postgres(command), check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert ended.returncode == 0, ended.stdout


class PgBouncer:
    """PgBouncer in transaction mode before a server, with two connections to it for all who come."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.port = _free_port()
        self._folder = folder
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        if shutil.which("pgbouncer") is None:
            pytest.skip("PgBouncer is not installed (Debian: apt install pgbouncer)")
        users, settings = self._folder / "users", self._folder / "pgbouncer.ini"
        users.write_text('"postgres" ""\n')
        settings.write_text(
            f"[databases]\n* = host={self._server.folder} port={self._server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nauth_type = any\n"
            f"auth_file = {users}\nunix_socket_dir =\npool_mode = transaction\ndefault_pool_size = 2\n"
            "max_client_conn = 100\n[users]\n"
        )
        settings.write_text(settings.read_text().replace("port=", "user=postgres port=", 1))
        for path in (self._folder, users, settings):
            path.chmod(0o755)
        log = (self._folder / "log").open("wb")
        command = as_postgres([shutil.which("pgbouncer") or "", str(settings)])
        self._process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.1):
                return
            time.sleep(0.02)
        raise TimeoutError((self._folder / "log").read_text())

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ranvier-pg-"))
    folder.chmod(0o755)
    return folder


@pytest.fixture
def postgres_server() -> Iterator[PostgresServer]:
    """A running PostgreSQL for this test alone."""
    folder = _folder()
    server = PostgresServer(folder)
    try:
        server.make()
        server.start()
        yield server
    finally:
        with contextlib.suppress(AssertionError):
            server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """A running PgBouncer before that server."""
    folder = _folder()
    bouncer = PgBouncer(postgres_server, folder)
    try:
        bouncer.start()
        yield bouncer
    finally:
        bouncer.stop()
        shutil.rmtree(folder, ignore_errors=True)
