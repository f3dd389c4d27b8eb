"""Forms of answers that several operations share."""

from typing import Any

from ranvier.federation.admitting import Template


def template_answer(template: Template) -> dict[str, Any]:
    """The answer of `make_join`, `make_knock` and `make_leave`."""
    return {"event": template.event, "room_version": template.room_version}
