"""`ranvier keys`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ranvier.cli import main
from ranvier.config import create
from ranvier.main.keys import load_retired_keys, load_signing_keys
from ranvier.protocol import server_keys


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    create(folder, "a.test")
    return folder


def run(data: Path, *words: str) -> Result:
    result = CliRunner().invoke(main, ["keys", *words, "--data", str(data)])
    assert result.exit_code == 0, result.output
    return result


def test_a_rotation_makes_a_new_key_and_keeps_publishing_the_old_ones(data: Path) -> None:
    path = data / "signing.key"
    seen = []
    for _ in range(3):
        seen.append(load_signing_keys(path, "a.test", is_new=False)[0])
        run(data, "rotate", "--yes")
    [current] = load_signing_keys(path, "a.test", is_new=False)
    document = json.loads(run(data, "show", "--json").stdout)
    read = server_keys.parse(document, 0, "a.test")
    assert set(document["verify_keys"]) == {current.key_id}
    assert {key.key_id: key.public for key in seen}.items() <= {
        key_id: read.keys[key_id].public for key_id in document["old_verify_keys"]
    }.items()
    assert path.stat().st_mode & 0o077 == 0
    shown = run(data, "show").stdout
    assert f"{current.key_id}  " in shown
    assert shown.count("retired") == 3
    assert path.read_text().split()[2] not in shown, "nothing secret is printed"


def test_a_key_that_came_back_from_a_backup_is_not_retired(data: Path) -> None:
    path = data / "signing.key"
    before = path.read_text()
    run(data, "rotate", "--yes")
    path.write_text(before)
    document = json.loads(run(data, "show", "--json").stdout)
    assert document["old_verify_keys"] == {}


def test_a_rotation_that_is_not_confirmed_changes_nothing(data: Path) -> None:
    before = (data / "signing.key").read_text()
    result = CliRunner().invoke(main, ["keys", "rotate", "--data", str(data)], input="n\n")
    assert result.exit_code == 1
    assert (data / "signing.key").read_text() == before
    assert load_retired_keys(data / "signing.key") == []


def test_without_a_key_file_it_says_so(data: Path) -> None:
    (data / "signing.key").unlink()
    result = CliRunner().invoke(main, ["keys", "show", "--data", str(data)])
    assert result.exit_code == 1
    assert "no signing key" in result.stderr
