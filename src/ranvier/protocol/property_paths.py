r"""Dot-separated paths to a property of an event, such as `content.m\.relates_to.rel_type`.

Source: Appendices, "Dot-separated property paths".
"""

from typing import Any, Final

MISSING: Final = object()
"""What `read_property` gives when there is no such property (JSON's null is one)."""


def split_path(path: str) -> tuple[str, ...]:
    r"""The names of the properties on the way.

    A dot or backslash that belongs to a name is escaped with a backslash; any other backslash stands for
    itself.
    """
    if "\\" not in path:
        return tuple(path.split("."))
    names: list[str] = []
    name: list[str] = []
    position = 0
    while position < len(path):
        character = path[position]
        if character == "\\" and path[position + 1 : position + 2] in (".", "\\"):
            position += 1
            name.append(path[position])
        elif character == ".":
            names.append("".join(name))
            name.clear()
        else:
            name.append(character)
        position += 1
    names.append("".join(name))
    return tuple(names)


def read_property(root: Any, names: tuple[str, ...]) -> Any:
    """The value at the end of the path, or `MISSING`. Arrays have no named properties."""
    value = root
    for name in names:
        if not isinstance(value, dict):
            return MISSING
        value = value.get(name, MISSING)
    return value
