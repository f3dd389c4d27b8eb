"""`ranvier register`, against a server that speaks the registration protocol as Synapse documents it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ranvier.cli import main
from ranvier.cli.register import mac
from ranvier.config import Secret

NONCE = "0123456789abcdef"
SECRET = "compat-secret"


@pytest.mark.parametrize(
    ("user", "password", "admin", "user_type", "expected"),
    [
        ("Alice", "pässwörd", True, None, "f6556735353a245ea41dd904926720fc029688b9"),
        ("bob", "secret", False, None, "96e17ea7c6aa5d2bcc3b249f73f83a965ef3cf68"),
        ("bob", "secret", False, "bot", "038ab573e57e432f25c2b312630a6846ac3af2a3"),
    ],
)
def test_the_proof_is_the_one_that_synapse_computes(
    user: str, password: str, admin: bool, user_type: str | None, expected: str
) -> None:
    assert mac(Secret(SECRET), NONCE, user, password, admin, user_type) == expected


class Registrar(ThreadingHTTPServer):
    """Hands out one nonce; knows the proofs of two accounts, and that alice is taken."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.bodies: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    server: Registrar

    def do_GET(self) -> None:
        self._answer(200, {"nonce": NONCE} if self.path == "/_synapse/admin/v1/register" else {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        if body["username"] == "alice":
            self._answer(400, {"errcode": "M_USER_IN_USE", "error": "User ID already taken."})
        elif body["mac"] == "96e17ea7c6aa5d2bcc3b249f73f83a965ef3cf68":
            self._answer(200, {"user_id": "@bob:example.org", "access_token": "t", "device_id": "D"})
        else:
            self._answer(403, {"errcode": "M_FORBIDDEN", "error": "HMAC incorrect"})

    def _answer(self, status: int, value: object) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def registrar() -> Iterator[Registrar]:
    server = Registrar()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def register(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(main, ["register", *arguments], input=typed)


def test_it_makes_a_user_with_a_secret_from_the_command_line(registrar: Registrar) -> None:
    result = register("-u", "bob", "-p", "secret", "--no-admin", "-k", SECRET, registrar.url)
    assert result.exit_code == 0, result.output
    assert "@bob:example.org is there" in result.stderr
    [body] = registrar.bodies
    assert (body["username"], body["admin"], body["nonce"]) == ("bob", False, NONCE)


def test_it_asks_for_what_is_not_given_and_shows_no_password(registrar: Registrar) -> None:
    result = register("-k", SECRET, registrar.url, typed="bob\nsecret\nsecret\nn\n")
    assert result.exit_code == 0, result.output
    assert "secret\n" not in result.output


def test_it_finds_secret_and_address_in_the_configuration(registrar: Registrar, tmp_path: Path) -> None:
    path = tmp_path / "homeserver.yaml"
    port = registrar.server_address[1]
    path.write_text(
        f"server_name: example.org\nlisteners: [{{port: {port}}}]\nregistration_shared_secret: {SECRET}\n"
    )
    result = register("-c", str(path), "-u", "bob", "-p", "secret", "--no-admin")
    assert result.exit_code == 0, result.output


def test_a_user_who_exists_is_an_error_unless_that_is_fine(registrar: Registrar) -> None:
    words = ("-u", "alice", "-p", "x", "--no-admin", "-k", SECRET, registrar.url)
    result = register(*words)
    assert result.exit_code == 1
    assert "User ID already taken. (M_USER_IN_USE)" in result.stderr
    assert register(*words, "--exists-ok").exit_code == 0


def test_a_wrong_secret_is_told_as_the_server_says_it(registrar: Registrar) -> None:
    result = register("-u", "bob", "-p", "secret", "--no-admin", "-k", "wrong", registrar.url)
    assert result.exit_code == 1
    assert "HMAC incorrect" in result.stderr
    assert "wrong" not in result.output


def test_an_address_where_nobody_listens_says_how_to_start_a_server(registrar: Registrar) -> None:
    result = register("-u", "bob", "-p", "x", "--no-admin", "-k", SECRET, "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "`ranvier run` starts it" in result.stderr


def test_an_address_that_is_no_homeserver_is_told(registrar: Registrar) -> None:
    result = register("-u", "bob", "-p", "x", "--no-admin", "-k", SECRET, registrar.url + "/elsewhere")
    assert result.exit_code == 1
    assert "is it a homeserver?" in result.stderr
    assert register("-u", "b", "-p", "x", "-a", "-k", SECRET, "example.org").exit_code == 1


def test_a_configuration_without_secret_says_how_to_get_one(tmp_path: Path) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_text("server_name: example.org\n")
    result = register("-c", str(path), "-u", "bob", "-p", "x", "--no-admin")
    assert result.exit_code == 1
    assert "registration_shared_secret_path" in result.stderr


def test_secret_and_configuration_exclude_each_other(tmp_path: Path) -> None:
    result = register("-k", SECRET, "-c", str(tmp_path / "x.yaml"))
    assert result.exit_code == 2
    assert "not both" in result.stderr
