"""The data folder of a new server."""

import re
import stat
from pathlib import Path

import pytest

from ranvier.config import ConfigError, SqliteStore, create, create_missing, load


def test_a_new_data_folder_holds_all_that_a_start_needs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = create(data, "example.org", "127.0.0.1", 8448)
    config = load([path])
    assert config.server.name == "example.org"
    assert config.listeners[0].port == 8448
    assert config.database == SqliteStore(data / "homeserver.db")
    assert config.registration.shared_secret is not None
    assert len(config.registration.shared_secret.reveal()) >= 50
    assert re.fullmatch(r"ed25519 a_[A-Za-z]{4} [A-Za-z0-9+/]{43}\n", (data / "signing.key").read_text())
    assert config.warnings == ()


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    create(data, "example.org")
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for name in ("homeserver.yaml", "signing.key", "registration_shared_secret"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600


def test_two_servers_get_different_keys_and_secrets(tmp_path: Path) -> None:
    create(tmp_path / "a", "example.org")
    create(tmp_path / "b", "example.org")
    for name in ("signing.key", "registration_shared_secret"):
        assert (tmp_path / "a" / name).read_text() != (tmp_path / "b" / name).read_text()


def test_a_start_that_broke_off_half_way_goes_on_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "signing.key").write_text("ed25519 a_kept AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n")
    create(tmp_path, "example.org")
    assert "a_kept" in (tmp_path / "signing.key").read_text()


def test_a_folder_with_a_database_but_no_configuration_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "homeserver.db").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"no homeserver\.yaml"):
        create(tmp_path, "example.org")
    assert [path.name for path in tmp_path.iterdir()] == ["homeserver.db"]


def test_a_bad_server_name_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without https://"):
        create(tmp_path / "data", "https://example.org")
    assert not (tmp_path / "data").exists()


def test_missing_secrets_are_made_where_the_configuration_names_them(tmp_path: Path) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_text(
        "server_name: example.org\nsigning_key_path: my.key\nregistration_shared_secret_path: my.secret\n"
    )
    assert create_missing([path]) == [tmp_path / "my.key", tmp_path / "my.secret"]
    assert create_missing([path]) == []
    assert load([path]).registration.shared_secret is not None
