"""From YAML to values: every key of the table gets one; all that is wrong is told at once."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ranvier.config.kinds import Block, Blocks, Key, with_names
from ranvier.config.known import KNOWN
from ranvier.config.tree import Fault, Given, Place, files_of, merge, override, read_file

DEFAULTS = Place("default")


class ConfigError(Exception):
    """The configuration can't be used; `faults` are in the order of the files."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = sorted(
            faults, key=lambda fault: (fault.place.source, fault.place.line, fault.place.column)
        )
        super().__init__("\n".join(str(fault) for fault in self.faults))


def read_all(paths: Sequence[Path], assignments: Sequence[str] = ()) -> tuple[Given, Path]:
    """The merged tree of these files with `key=value` assignments on top, and the folder of the first file.

    Raises ConfigError when a file can't be read or an assignment has no place.
    """
    files = files_of(paths)
    try:
        if not files:
            raise Fault(Place(", ".join(map(str, paths))), "there is no *.yaml file here")
        tree = merge([read_file(path) for path in files])
        for assignment in assignments:
            tree = override(tree, assignment)
    except Fault as fault:
        raise ConfigError([fault]) from None
    return tree, files[0].absolute().parent


class Reading:
    """One pass over a tree; collects faults and warnings on its way."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._keys = keys
        self._used = frozenset(name for name, _ in with_names(keys))
        self.faults: list[Fault] = []
        self.warnings: list[str] = []

    def read(self, tree: Given) -> dict[str, Any]:
        """The value of every key, nested as the table is."""
        return self._block(self._keys, tree, "")

    def _block(self, keys: tuple[Key, ...], given: Given, prefix: str) -> dict[str, Any]:
        if not isinstance(given.value, dict):
            self.faults.append(
                Fault(given.place, f"`{prefix.rstrip('.')}` must be a block of `key: value` lines")
            )
            given = Given({}, given.place)
        by_name = {key.name: key for key in keys}
        for name, entry in given.value.items():
            if name not in by_name:
                self._judge_stranger(name, entry, prefix, by_name)
        return {key.name: self._value(key, given.value.get(key.name), prefix, given.place) for key in keys}

    def _value(self, key: Key, given: Given | None, prefix: str, around: Place) -> Any:
        name = prefix + key.name
        if given is None or (given.value is None and not getattr(key.kind, "endless", False)):
            if key.required:
                example = "" if key.example is None else f"; add `{key.name}: {key.example}`"
                self.faults.append(Fault(around, f"`{name}` is missing{example}"))
                return None
            if key.default is None and not isinstance(key.kind, Block):
                return None
            default = {} if isinstance(key.kind, Block) else key.default
            given = _placed(default)
        if isinstance(key.kind, Block):
            return self._block(key.kind.keys, given, f"{name}.")
        if isinstance(key.kind, Blocks):
            return self._blocks(key.kind, given, name)
        try:
            return key.kind.read(given)
        except Fault as fault:
            self.faults.append(Fault(fault.place, f"`{name}`: {fault.sentence}"))
            return None

    def _blocks(self, kind: Blocks, given: Given, name: str) -> list[dict[str, Any]]:
        if not isinstance(given.value, list):
            self.faults.append(Fault(given.place, f"`{name}` must be a list (lines that begin with `- `)"))
            return []
        return [{**self._block(kind.keys, item, f"{name}[]."), "_place": item.place} for item in given.value]

    def _judge_stranger(self, name: str, given: Given, prefix: str, siblings: dict[str, Key]) -> None:
        full = prefix + name
        if full in KNOWN:
            self.warnings.append(f"{given.place}: `{full}` is known, but not yet used; it has no effect")
            return
        beside = [known.removeprefix(prefix) for known in KNOWN if known.startswith(prefix)]
        candidates = [*siblings, *(one for one in beside if "." not in one and "[" not in one)]
        near = difflib.get_close_matches(name, candidates, 1, 0.6)
        elsewhere = [used for used in sorted(self._used) if used.rpartition(".")[2] == name]
        if near:
            cure = f"did you mean `{near[0]}`?"
        elif elsewhere:
            cure = f"it stands in another place: `{elsewhere[0]}`"
        else:
            cure = "`ranvier config` prints all keys that there are"
        self.faults.append(Fault(given.place, f"`{full}` is no key that this server knows; {cure}"))


def _placed(value: Any) -> Given:
    """A default as if it had been given."""
    if isinstance(value, dict):
        return Given({key: _placed(entry) for key, entry in value.items()}, DEFAULTS)
    if isinstance(value, list):
        return Given([_placed(entry) for entry in value], DEFAULTS)
    return Given(value, DEFAULTS)
