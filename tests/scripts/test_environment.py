"""scripts/environment: what it says when something is missing, and that it does nothing twice."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def clone(folder: Path) -> Path:
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "environment", folder / "scripts" / "environment")
    shutil.copy(ROOT / "pyproject.toml", folder / "pyproject.toml")
    return folder


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def run(folder: Path, path: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "scripts" / "environment", "test"],
        env={"PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def tools(tmp_path: Path) -> str:
    """A PATH with what the script needs, and no Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("sh", "dirname", "cat", "cksum", "rm", "pwd"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return str(folder)


def test_without_a_python_that_is_new_enough_it_says_what_to_install(tmp_path: Path, tools: str) -> None:
    folder = clone(tmp_path)
    program(Path(tools) / "python3", "exit 1\n")
    result = run(folder, tools)
    assert result.returncode == 1
    assert "Python 3.11 or newer is needed" in result.stderr
    assert "apt install python3 python3-venv" in result.stderr


def test_without_the_venv_module_it_names_the_package(tmp_path: Path, tools: str) -> None:
    folder = clone(tmp_path)
    program(
        Path(tools) / "python3",
        'case "$*" in *ensurepip* | *venv*) exit 1 ;; *print*) echo 3.11 ;; esac\n',
    )
    result = run(folder, tools)
    assert result.returncode == 1
    assert "apt install python3-venv (or python3.11-venv)" in result.stderr
    assert not (folder / ".venv").exists()


def test_a_second_run_asks_no_package_index(tmp_path: Path, tools: str) -> None:
    folder = clone(tmp_path)
    program(Path(tools) / "python3", "exit 0\n")
    calls = folder / "calls"
    program(folder / ".venv" / "bin" / "python", f'echo "$*" >>{calls}\n')
    assert run(folder, tools).returncode == 0
    assert "--editable .[test]" in calls.read_text()
    calls.write_text("")
    result = run(folder, tools)
    assert (result.returncode, result.stderr) == (0, "")
    assert "install" not in calls.read_text()
    (folder / "pyproject.toml").write_text((folder / "pyproject.toml").read_text() + "\n# changed\n")
    assert run(folder, tools).returncode == 0
    assert "--editable .[test]" in calls.read_text()


def test_the_scripts_are_programs() -> None:
    for path in [*(ROOT / "scripts").iterdir(), *(ROOT / ".ci").iterdir()]:
        if path.is_file():
            assert os.access(path, os.X_OK), path
            assert path.read_text().startswith("#!"), path
