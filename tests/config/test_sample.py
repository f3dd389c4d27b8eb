"""The sample and the manual say what the table says, and the server takes what they say."""

import re
from pathlib import Path

import pytest
import yaml

from ranvier.config import build, manual, read_text, sample
from ranvier.config.keys import KEYS
from ranvier.config.kinds import Block, Blocks, Key, with_names
from ranvier.config.known import KNOWN
from ranvier.config.reading import Reading
from ranvier.config.sample import _assignment, _example

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
FOLDER = Path("/srv/example")


def test_the_sample_is_a_configuration_that_works() -> None:
    assert build(read_text(sample(), "sample"), FOLDER) == build(
        read_text("server_name: example.org", "sample"), FOLDER
    )


def test_the_sample_has_every_key_with_a_meaning() -> None:
    text = sample()
    for name, key in with_names(KEYS):
        assert key.doc.endswith("."), name
        assert f"{key.name}:" in text, name


def test_every_default_of_the_sample_is_what_applies_without_it() -> None:
    """All lines that are no comments, uncommented, but for those that only show an example."""
    lines = []
    for line in sample().splitlines():
        if not re.match(r"##|#$|# \S|# *# ", line):
            lines.append(line.removeprefix("#"))
    values = yaml.safe_load("\n".join(lines))
    _drop_examples(values, KEYS)
    text = yaml.safe_dump(values)
    assert build(read_text(text, "sample"), FOLDER) == build(
        read_text("server_name: example.org", "sample"), FOLDER
    )


def _drop_examples(values: dict[str, object], keys: tuple[Key, ...]) -> None:
    for key in keys:
        value = values[key.name]
        if isinstance(key.kind, Block):
            assert isinstance(value, dict)
            _drop_examples(value, key.kind.keys)
        elif key.default in (None, {}) and not key.required:
            del values[key.name]


@pytest.mark.parametrize(
    ("name", "key"), [pair for pair in with_names(KEYS) if not isinstance(pair[1].kind, Block | Blocks)]
)
def test_the_example_of_a_key_is_one_that_it_takes(name: str, key: Key) -> None:
    assert _example(key) is not None
    reading = Reading((key,))
    reading.read(read_text(_assignment(key.name, _example(key)), "sample"))
    assert reading.faults == []


def test_no_key_is_both_used_and_said_to_be_unused() -> None:
    assert not {name for name, _ in with_names(KEYS)} & KNOWN


def test_the_manual_has_what_the_server_reads() -> None:
    text = manual()
    if not PAGE.exists() or PAGE.read_text() != text:
        PAGE.write_text(text)
        pytest.fail("docs/configuration.md was stale; it is rewritten, commit it")
