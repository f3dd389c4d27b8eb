"""What a caller is told when the answer is no: the specification's standard error, as a value to raise.

Source: Client-Server API, "Standard error response".
"""

from typing import Any


class Refusal(Exception):
    """An expected "no" with the specification's errcode and a sentence that helps.

    `extra` holds further keys of the error object, such as `retry_after_ms` or `room_version`. `status` is only
    given where the specification asks for another HTTP status than the errcode's usual one.
    """

    def __init__(self, errcode: str, error: str, *, status: int | None = None, **extra: Any) -> None:
        super().__init__(f"{errcode}: {error}")
        self.errcode = errcode
        self.error = error
        self.status = status
        self.extra = extra

    def to_json(self) -> dict[str, Any]:
        """The error object of the answer."""
        return {"errcode": self.errcode, "error": self.error, **self.extra}


def forbidden(error: str) -> Refusal:
    """The requester may not do this."""
    return Refusal("M_FORBIDDEN", error)


def not_found(error: str) -> Refusal:
    """There is no such thing, or the requester may not know of it."""
    return Refusal("M_NOT_FOUND", error)


def invalid_param(error: str) -> Refusal:
    """A parameter has the right type, but a value that can't be used."""
    return Refusal("M_INVALID_PARAM", error)


def bad_json(error: str) -> Refusal:
    """The body is JSON, but not of the form that the endpoint asks for."""
    return Refusal("M_BAD_JSON", error)
