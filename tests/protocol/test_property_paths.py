r"""Paths to properties: the appendices' "Dot-separated property paths"."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranvier.protocol.property_paths import MISSING, read_property, split_path


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("content.body", ("content", "body")),
        (r"content.m\.relates_to", ("content", "m.relates_to")),
        (r"content.m\\foo", ("content", r"m\foo")),
        (r"content.m\x", ("content", r"m\x")),
        (r"a\\.b", ("a\\", "b")),
        ("a\\", ("a\\",)),
        ("", ("",)),
        ("a..b", ("a", "", "b")),
    ],
)
def test_a_path_is_split_at_dots_that_are_not_escaped(path: str, names: tuple[str, ...]) -> None:
    assert split_path(path) == names


@given(st.lists(st.text("ab.\\"), min_size=1, max_size=5))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_escaped_names_come_back_as_they_were(names: list[str]) -> None:
    path = ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in names)
    assert split_path(path) == tuple(names)


def test_null_is_a_property_and_absence_is_none() -> None:
    event = {"content": {"a": None, "list": [1]}}
    assert read_property(event, ("content", "a")) is None
    assert read_property(event, ("content", "b")) is MISSING
    assert read_property(event, ("content", "list", "0")) is MISSING
    assert read_property(event, ("content", "a", "b")) is MISSING
