"""The annotated sample configuration and the manual's page of keys, both from the table of keys."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from ranvier.config.keys import SECTIONS
from ranvier.config.kinds import Block, Blocks, Key, with_names

_WIDTH = 100
_PREFACE = """\
Every key that the server honours. Written by `tests/config/test_sample.py` from the table that the
server itself reads (`src/ranvier/config/keys.py`); don't edit.

Keys are Synapse's where the meaning is the same, so that its files can be used: a Synapse key that
stands here works, one that doesn't gets a warning (`known, but not yet used`), and anything else is
refused with its place and the nearest key that exists. `ranvier config` prints an annotated sample,
`ranvier config --check FILE` checks a file.

Several files (`-c a.yaml -c b.yaml`, or a folder) are merged in order: a later file replaces a
whole top-level key. `--set key=value` replaces a single value, `--set listeners.0.port=8009` one
inside a list. Relative paths start in `data_directory`.

Durations: `30s`, `5m`, `2h`, `7d`, `4w`, `1y`, or milliseconds. Sizes: `512K`, `50M`, `2G`, or bytes.
"""


def sample() -> str:
    """A configuration with every key, its meaning and its default; only `server_name` is set."""
    lines = [
        "# Configuration of a Ranvier homeserver.",
        "#",
        "# A line such as #key: value shows the default, or an example where it says `no default`.",
        "# Durations: 30s, 5m, 2h, 7d, 4w, 1y, or milliseconds. Sizes: 512K, 50M, 2G, or bytes.",
        "# `ranvier config --check FILE` says what is wrong with a file, and where.",
    ]
    for section in SECTIONS:
        lines += ["", f"## {section.title} " + "#" * (_WIDTH - 4 - len(section.title))]
        for key in section.keys:
            lines += ["", *_key_lines(key, "")]
    return "\n".join(lines) + "\n"


def _key_lines(key: Key, indent: str) -> Iterator[str]:
    """A comment has a second `# `, or a blank, after its `#`; a line that may be uncommented has neither."""
    mark = "" if key.required and not indent else "#"
    yield from _comment(key.doc, indent)
    if isinstance(key.kind, Block):
        yield f"{mark}{indent}{key.name}:"
        for child in key.kind.keys:
            yield from _key_lines(child, indent + "  ")
        return
    if isinstance(key.kind, Blocks):
        for name, child in with_names(key.kind.keys):
            yield from _comment(f"- {name}: {child.doc} ({child.kind.description})", indent)
        shown = key.default
    else:
        yield from _comment(f"({_facts(key)})", indent)
        shown = _example(key)
    for line in _assignment(key.name, shown).splitlines():
        yield f"{mark}{indent}{line}"


def _comment(text: str, indent: str) -> Iterator[str]:
    lead = f"#{indent}# " if indent else "# "
    yield from textwrap.wrap(
        text, _WIDTH, initial_indent=lead, subsequent_indent=lead, break_on_hyphens=False
    )


def _example(key: Key) -> Any:
    return key.example if key.default in (None, {}) and key.example is not None else key.default


def _facts(key: Key) -> str:
    kind = key.kind.description
    if key.required:
        return f"{kind}; must be set"
    return f"{kind}; no default" if key.default is None else kind


def _assignment(name: str, value: Any) -> str:
    """`name: value`; a list of blocks over several lines, anything else in one."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        text: str = yaml.safe_dump({name: value}, sort_keys=False, default_flow_style=None, width=_WIDTH)
        return text
    return f"{name}: {_inline(value)}" if value is not None else f"{name}:"


def _inline(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, default_flow_style=True, width=10_000)
    return text.removesuffix("...\n").strip()


def manual() -> str:
    """The text of docs/configuration.md."""
    lines = [
        "# Configuration",
        "",
        *_PREFACE.splitlines(),
    ]
    for section in SECTIONS:
        lines += ["", f"## {section.title}", "", "| key | value | default | meaning |", "|-|-|-|-|"]
        lines += [_row(name, key) for name, key in with_names(section.keys)]
    return "\n".join(lines) + "\n"


def _row(name: str, key: Key) -> str:
    if key.required:
        default = "must be set"
    elif key.default is None:
        default = ""
    else:
        default = f"`{_inline(key.default)}`"
    cells = (f"`{name}`", key.kind.description, default, key.doc)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
