"""What a starting server loads: everything else would cost each start time, and memory for good."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

NEEDLESS = {
    "aiodns": "only a server that speaks with others needs it",
    "aiohttp": "only a server that speaks with others needs it",
    "PIL": "only thumbnails need it",
    "asyncpg": "only PostgreSQL needs it",
    "bcrypt": "only imported accounts need it",
    "rich": "only the load harness needs it",
    "structlog": "logs are the standard library's",
    "urllib.request": "only `ranvier register` needs it",
    "http.client": "only `ranvier register` needs it",
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The modules that a server with SQLite has loaded when it is ready."""
    folder: Path = tmp_path_factory.mktemp("server")
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "ranvier",
        "run",
        "--data",
        str(folder),
        "--port",
        "0",
    ]
    names = set()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.fullmatch(r"import time: .*\| +([\w.]+)\n", line):
                names.add(found[1])
            elif line.startswith("to stop"):
                break
        process.terminate()
        process.communicate(timeout=60)
    return names


@pytest.mark.parametrize("name", NEEDLESS)
def test_a_server_on_sqlite_does_not_load(name: str, loaded: set[str]) -> None:
    assert {"ranvier.main.compose", "ranvier.media.thumbnails", "ranvier.store.sqlite"} <= loaded
    assert name not in loaded, NEEDLESS[name]
