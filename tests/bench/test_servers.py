"""What both servers are told, the requests they get, and the database they are given."""

import hashlib
import hmac
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.postgresql import DATABASE_USER, Cluster, DatabaseFailed, find_programs, free_port
from bench.servers import Ranvier, ServerFailed, Synapse
from bench.work.mixture import ROOMS_OF_A_USER, _memberships
from bench.world import User, registration_mac

from bench import requests


def test_the_proof_of_the_shared_secret_covers_every_field() -> None:
    expected = hmac.new(b"secret", b"nonce\0alice\0pass\0notadmin", hashlib.sha1).hexdigest()
    assert registration_mac("secret", "nonce", "alice", "pass") == expected


def test_identifiers_are_percent_encoded_and_the_body_is_measured_in_bytes() -> None:
    request = requests.send_message("token", "!a/b:example.org", "1", "grüß")
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(
        b"PUT /_matrix/client/v3/rooms/%21a%2Fb%3Aexample.org/send/m.room.message/1 HTTP/1.1\r\n"
    )
    assert b"Authorization: Bearer token" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert "grüß".encode() in body


def test_a_get_has_no_body_and_no_length() -> None:
    assert b"Content-Length" not in requests.whoami("token")


def test_both_servers_get_the_same_limits_and_database(tmp_path: Path) -> None:
    ranvier = Ranvier(tmp_path / "r", None, tmp_path)._configuration()
    synapse = Synapse(tmp_path / "s", None, tmp_path)._configuration()
    limits = [key for key in synapse if key.startswith("rc_")]
    assert len(limits) > 10
    assert {key: ranvier[key] for key in limits} == {key: synapse[key] for key in limits}
    assert ranvier["database"]["name"] == synapse["database"]["name"] == "sqlite3"


async def test_a_server_that_ends_at_once_shows_its_last_words(tmp_path: Path) -> None:
    class Broken(Ranvier):
        def _command(self) -> list[str]:
            return ["/bin/sh", "-c", "echo no such option; exit 3"]

    with pytest.raises(ServerFailed, match="no such option"):
        await Broken(tmp_path / "r", None, tmp_path).start()


def test_a_server_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="ranvier is missing"):
        Ranvier(tmp_path / "r", None, tmp_path).install()


def test_every_user_of_the_mixture_is_in_four_rooms() -> None:
    users = [User(str(n), f"@{n}:x", str(n)) for n in range(50)]
    memberships = _memberships(users, 10)
    assert {sum(user in members for members in memberships) for user in users} == {ROOMS_OF_A_USER}
    assert [len(members) for members in memberships] == [20] * 10


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder into which the database's own account may go, as it may not into pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="bench-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_cluster_lives_as_long_as_it_is_asked_to(open_folder: Path) -> None:
    try:
        programs = find_programs()
    except DatabaseFailed as missing:
        pytest.skip(str(missing))
    cluster = Cluster(open_folder / "postgresql")
    try:
        cluster.start()
        cluster.create("ranvier")
        query = [
            "-tAc",
            "SHOW fsync",
            "-h",
            cluster.host,
            "-p",
            str(cluster.port),
            "-U",
            DATABASE_USER,
            "ranvier",
        ]
        told = subprocess.run([programs / "psql", *query], capture_output=True, text=True, check=True)
        assert told.stdout.strip() == "on"
        assert len(cluster.pids) == 1
    finally:
        cluster.stop()
    assert cluster.pids == []


def test_free_ports_are_ports() -> None:
    assert 1024 <= free_port() < 65536
