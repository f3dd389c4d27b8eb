"""scripts/words finds what must not stand in the tree, and lets the rest pass."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def words_in(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "words", folder], capture_output=True, text=True, check=False
    )


def tree_with(folder: Path, name: str, text: str) -> Path:
    subprocess.run(["git", "init", "-q", folder], check=True)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docs/a.md", "It lies in /home/alice/ranvier."),
        ("docs/a.md", "see /work/main/src"),
        ("docs/a.md", "This closes issue #12."),
        ("src/ranvier/a.py", "# TODO: later"),
        ("src/ranvier/a.py", "    raise NotImplementedError"),
        ("src/ranvier/a.py", "class RoomManager:"),
        ("src/ranvier/rooms/utils.py", ""),
        ("CHANGELOG.md", "Co-authored-by: somebody"),
    ],
)
def test_a_word_that_must_not_be_here_is_found_with_its_place(tmp_path: Path, name: str, text: str) -> None:
    found = words_in(tree_with(tmp_path, name, "\n" + text + "\n" if text else ""))
    assert found.returncode == 1
    assert found.stderr.startswith(f"{name}:2:" if text else f"{name}:")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "docs/a.md",
            "The session lifetime; the room TODO list; /var/lib/ranvier; https://example.org/work/x",
        ),
        ("src/ranvier/a.py", "def issue_token(self) -> str: ..."),
        ("src/ranvier/sessions.py", "class Session: ..."),
    ],
)
def test_ordinary_words_pass(tmp_path: Path, name: str, text: str) -> None:
    assert words_in(tree_with(tmp_path, name, text + "\n")).returncode == 0


def test_what_git_ignores_is_not_read(tmp_path: Path) -> None:
    tree_with(tmp_path, "data/log.txt", "/home/alice/x\n")
    (tmp_path / ".gitignore").write_text("/data/\n")
    assert words_in(tmp_path).returncode == 0
