"""YAML as a tree that knows where each value stands: each complaint names file, line and column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MAX_DEPTH = 20
MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key or value stands: a file with line and column (from 1), or the command line."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given: a scalar, `dict[str, Given]` or `list[Given]`.

    The place of a mapping's entry is its key's.
    """

    value: Any
    place: Place

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: entry.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [entry.plain() for entry in self.value]
        return self.value


class Fault(Exception):
    """One thing wrong with the configuration: where, and a sentence that says what mends it."""

    def __init__(self, place: Place, sentence: str) -> None:
        super().__init__(f"{place}: {sentence}")
        self.place = place
        self.sentence = sentence


def read_text(text: str, source: str) -> Given:
    """The tree of a YAML text; raises Fault when it is no YAML or its top is no mapping."""
    if len(text) > MAX_BYTES:
        raise Fault(Place(source), f"the file has more than {MAX_BYTES} characters; is it the right one?")
    loader = yaml.SafeLoader(text)
    loader.name = source
    try:
        node = loader.get_single_node()
        top = Given({}, Place(source, 1, 1)) if node is None else _Reader(loader, source).read(node, 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source)
        raise Fault(place, f"this is not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise Fault(Place(source), f"this is not valid YAML: {error}") from None
    finally:
        loader.dispose()
    if top.value is None:
        return Given({}, top.place)
    if not isinstance(top.value, dict):
        raise Fault(top.place, "the top of a configuration file holds `key: value` lines")
    return top


class _Reader:
    """Turns YAML nodes into Given values; aliases are read once, so that they can't multiply."""

    def __init__(self, loader: yaml.SafeLoader, source: str) -> None:
        self._loader = loader
        self._source = source
        self._read: dict[int, Given] = {}

    def read(self, node: yaml.Node, depth: int) -> Given:
        place = self._place(node)
        if depth > MAX_DEPTH:
            raise Fault(place, f"values are nested more than {MAX_DEPTH} deep")
        if id(node) in self._read:
            return self._read[id(node)]
        if isinstance(node, yaml.MappingNode):
            self._loader.flatten_mapping(node)
            found = Given(self._mapping(node, depth), place)
        elif isinstance(node, yaml.SequenceNode):
            found = Given([self.read(child, depth + 1) for child in node.value], place)
        else:
            found = Given(self._scalar(node, place), place)
        self._read[id(node)] = found
        return found

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Given]:
        entries: dict[str, Given] = {}
        for key_node, value_node in node.value:
            place = self._place(key_node)
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                raise Fault(place, "a key must be a plain word")
            if key in entries:
                raise Fault(place, f"`{key}` stands twice; the first is at {entries[key].place}")
            entries[key] = Given(self.read(value_node, depth + 1).value, place)
        return entries

    def _scalar(self, node: yaml.Node, place: Place) -> Any:
        try:
            return self._loader.construct_object(node, deep=True)
        except (ValueError, OverflowError) as error:
            raise Fault(place, f"this value can't be read: {error}") from None

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._source, node.start_mark.line + 1, node.start_mark.column + 1)


def read_file(path: Path) -> Given:
    """The tree of a YAML file; raises Fault when it can't be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Fault(Place(str(path)), f"the file can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Fault(Place(str(path)), "the file is not UTF-8 text") from None
    return read_text(text, str(path))


def files_of(paths: Iterable[Path]) -> list[Path]:
    """The files in order; a folder stands for its `*.yaml` files, sorted by name."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    return found


def merge(trees: Iterable[Given]) -> Given:
    """One tree of several: a later file replaces a whole top-level key, nothing deeper is combined."""
    merged: dict[str, Given] = {}
    place = Place("configuration")
    for tree in trees:
        merged |= tree.value
        place = tree.place
    return Given(merged, place)


def override(tree: Given, assignment: str) -> Given:
    """The tree with `dotted.key=VALUE` applied, VALUE being YAML; a number in the path is a place in a list.

    Raises Fault when the assignment has no `=` or the path leads through something that has no parts.
    """
    place = Place(f"--set {assignment.partition('=')[0]}")
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise Fault(place, "write it as `--set key=value` or `--set block.key=value`")
    wrapped = read_text(f"value: {text}", str(place))
    given = _at(wrapped.value["value"], place)
    return _replace(tree, path.split("."), given, place)


def _at(given: Given, place: Place) -> Given:
    """The same value, all of it placed on the command line."""
    value = given.value
    if isinstance(value, dict):
        value = {key: _at(entry, place) for key, entry in value.items()}
    elif isinstance(value, list):
        value = [_at(entry, place) for entry in value]
    return Given(value, place)


def _replace(tree: Given, path: list[str], given: Given, place: Place) -> Given:
    if not path:
        return given
    head, rest = path[0], path[1:]
    empty = Given({}, place)
    if tree.value is None or isinstance(tree.value, dict):
        entries = dict(tree.value or {})
        entries[head] = _replace(entries.get(head, empty), rest, given, place)
        return Given(entries, tree.place)
    if isinstance(tree.value, list):
        if not head.isdigit() or int(head) >= len(tree.value):
            raise Fault(place, f"`{head}` is no place in a list of {len(tree.value)}; the first is 0")
        items = list(tree.value)
        items[int(head)] = _replace(items[int(head)], rest, given, place)
        return Given(items, tree.place)
    raise Fault(place, f"`{head}` can't be set inside {tree.value!r}, which has no parts")
