"""Labels: what the suite marks containers, images and networks with, and finds them again by."""

import json
import re
from collections.abc import Mapping

_LABEL_CHANGE = re.compile(r'LABEL\s+"((?:[^"\\]|\\.)*)"="(.*)"', re.DOTALL)


class BadLabel(ValueError):
    """A filter or a commit's change that this engine does not understand; the sentence shows it."""


def parse_filters(text: str | None) -> tuple[str, ...]:
    """The label conditions (`key` or `key=value`) of a list request's `filters`; the API knows two JSON forms."""
    if not text:
        return ()
    try:
        filters = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadLabel(f"filters is not JSON: {text}") from error
    if not isinstance(filters, dict) or set(filters) - {"label"}:
        raise BadLabel(f"Only filters by label are understood here: {text}")
    wanted = filters.get("label", [])
    # A map of condition to true since API 1.22, a list before.
    return tuple(wanted)


def match(labels: Mapping[str, str], conditions: tuple[str, ...]) -> bool:
    """Whether all conditions hold."""
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def parse_change(change: str) -> tuple[str, str]:
    """Key and value of a commit's change, a Dockerfile's line `LABEL "key"="value"`.

    A backslash escapes only a quote, a dollar sign or itself, as in a Dockerfile: others stay as they are.
    """
    found = _LABEL_CHANGE.fullmatch(change.strip())
    if found is None:
        raise BadLabel(f"Only changes of labels are understood here: {change}")
    key, value = (re.sub(r'\\(["$\\])', r"\1", part) for part in found.groups())
    return key, value
