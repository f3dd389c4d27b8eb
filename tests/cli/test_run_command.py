"""`ranvier run` as a process of its own."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = [sys.executable, "-m", "ranvier", "run"]


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[dict[str, str]]:
    """A server that says it is ready; gives the lines that it greeted with, by their labels."""
    process = subprocess.Popen([*PROGRAM, *arguments], cwd=folder, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    greeting: dict[str, str] = {}
    try:
        for line in process.stderr:
            if match := re.fullmatch(
                r"(server name|listens on|data folder|first user|to stop) +(.*)\n", line
            ):
                greeting[match[1]] = match[2]
            if "to stop" in greeting:
                break
        assert "to stop" in greeting, f"the server ended with {process.wait(10)}"
        yield greeting
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        process.stderr.close()


def refused(folder: Path, *arguments: str) -> tuple[int, str]:
    result = subprocess.run(
        [*PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    return result.returncode, result.stderr


def answers(url: str) -> bool:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        f"{url}/health", timeout=10
    ) as answer:
        return bool(answer.status == 200)


def test_a_first_start_makes_its_folder_and_says_what_one_needs_to_know(tmp_path: Path) -> None:
    with running(tmp_path, "--port", "0", "--server-name", "example.org") as greeting:
        assert greeting["server name"] == "example.org"
        assert greeting["data folder"] == str(tmp_path / "data")
        assert answers(greeting["listens on"])
        assert "register -c data/homeserver.yaml --admin" in greeting["first user"]
        assert greeting["to stop"] == "Ctrl-C"


def test_a_second_start_finds_the_data_of_the_first(tmp_path: Path) -> None:
    with running(tmp_path, "--port", "0", "--server-name", "example.org"):
        key = (tmp_path / "data" / "signing.key").read_text()
    with running(tmp_path) as greeting:
        assert greeting["server name"] == "example.org"
        assert (tmp_path / "data" / "signing.key").read_text() == key


def test_a_name_that_was_set_like_any_key_is_that_of_later_starts_too(tmp_path: Path) -> None:
    with running(tmp_path, "--set", "server_name=example.org", "--port", "0"):
        pass
    with running(tmp_path) as greeting:
        assert greeting["server name"] == "example.org"


def test_another_server_name_is_refused_on_the_same_folder(tmp_path: Path) -> None:
    with running(tmp_path, "--port", "0", "--server-name", "example.org"):
        pass
    status, text = refused(tmp_path, "--server-name", "example.com")
    assert status == 1
    assert "This server is example.org, not example.com" in text


def test_a_port_that_is_taken_is_told_without_a_traceback(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, text = refused(tmp_path, "--port", str(taken.getsockname()[1]))
    assert status == 1
    assert "can't be opened" in text
    assert "Traceback" not in text


def test_a_wrong_configuration_is_told_before_anything_is_started(tmp_path: Path) -> None:
    status, text = refused(tmp_path, "--set", "max_upload_size=huge")
    assert status == 2
    assert "--set max_upload_size" in text
    assert not (tmp_path / "data" / "homeserver.db").exists()
