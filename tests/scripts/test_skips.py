"""The plugin that tells of skipped tests, in a pytest run of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SKIPPING = """
import pytest

def test_fine(): pass

@pytest.mark.skip(reason="the moon is not full")
def test_moon(): pass

def test_tide():
    pytest.skip("the tide is out")
"""


def run(folder: Path, text: str, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(text)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.skips",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            folder,
            folder,
        ],
        cwd=ROOT,
        env=os.environ | {"CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )


def test_reasons_stand_at_the_end_of_the_run(tmp_path: Path) -> None:
    result = run(tmp_path, SKIPPING, "false")
    assert result.returncode == 0, result.stdout
    assert "    1 the moon is not full" in result.stdout
    assert "    1 the tide is out" in result.stdout


def test_a_skip_fails_in_ci(tmp_path: Path) -> None:
    result = run(tmp_path, SKIPPING, "true")
    assert result.returncode == 1, result.stdout
    assert "the tide is out - not allowed in CI" in result.stdout


def test_a_run_without_skips_passes_in_ci(tmp_path: Path) -> None:
    assert run(tmp_path, "def test_fine(): pass\n", "true").returncode == 0
