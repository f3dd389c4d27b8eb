"""A key that is documented does something: what is read is also used by the floors that the server is made of."""

import dataclasses
import re
from pathlib import Path

import pytest

from ranvier.config import build, process_records, read_text, records

SOURCE = Path(__file__).parents[2] / "src" / "ranvier"
RECORDS = [
    record
    for module in (records, process_records)
    for record in vars(module).values()
    if dataclasses.is_dataclass(record) and record.__module__ == module.__name__ and isinstance(record, type)
]
FIELDS = sorted({(record.__name__, field.name) for record in RECORDS for field in dataclasses.fields(record)})
RATE_LIMITS = sorted(build(read_text("server_name: example.org", "homeserver.yaml"), Path()).rate_limits)


def text_of_the_server() -> str:
    """Everything but the configuration itself."""
    files = [path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0] != "config"]
    return "\n".join(path.read_text() for path in files)


TEXT = text_of_the_server()


@pytest.mark.parametrize(("record", "field"), FIELDS)
def test_every_value_of_the_configuration_is_read_somewhere(record: str, field: str) -> None:
    assert re.search(rf"\.{field}\b", TEXT), f"nothing reads {record}.{field}"


@pytest.mark.parametrize("name", RATE_LIMITS)
def test_every_rate_limit_is_counted_against_somewhere(name: str) -> None:
    assert f'"{name}"' in TEXT, f"nothing is limited by {name}"
