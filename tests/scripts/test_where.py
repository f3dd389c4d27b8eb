"""scripts/where finds the function that answers a request."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def where(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / "where", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_it_prints_file_and_line() -> None:
    result = where("GET", "/health")
    assert result.returncode == 0, result.stderr
    [line] = result.stdout.splitlines()
    file, number = line.split("\t")[0].rsplit(":", 1)
    source = (ROOT / file).read_text().splitlines()
    assert '"/health"' in "\n".join(source[int(number) - 1 : int(number) + 3])


@pytest.mark.parametrize(
    "path",
    [
        "/_matrix/client/v3/room_keys/keys/%21a%3Aexample.org/b%2Fc",
        "/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}",
        ".../keys/{roomId}/{sessionId}",
    ],
)
def test_a_real_path_and_a_part_of_one_find_the_same(path: str) -> None:
    lines = where("DELETE", path).stdout.splitlines()
    assert [line.split("\t")[1] for line in lines] == [
        "DELETE /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}"
    ]


def test_what_nobody_answers_is_told() -> None:
    result = where("GET", "/nowhere")
    assert result.returncode == 1
    assert "no endpoint answers GET /nowhere" in result.stderr
