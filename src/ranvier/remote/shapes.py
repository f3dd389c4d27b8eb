"""Reading answers of other servers: each part has the type that the specification gives it, or the answer is bad."""

from collections.abc import Mapping
from typing import Any, Final

from ranvier.remote.failure import RemoteFailure

MAX_INTEGER: Final = 2**53 - 1


class Shape:
    """The object that a destination answered; what is asked of it has its type, or RemoteFailure is raised."""

    def __init__(self, destination: str, fields: Mapping[str, Any]) -> None:
        self._destination = destination
        self._fields = fields

    def bad(self, sentence: str) -> RemoteFailure:
        """The failure that says what is wrong with the answer."""
        return RemoteFailure(
            self._destination, f"Its answer is not of the expected form: {sentence}", status=200
        )

    def has(self, key: str) -> bool:
        """Whether there is such a part, and it is not null."""
        return self._fields.get(key) is not None

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        value = self._fields.get(key, default)
        if not isinstance(value, str):
            raise self.bad(f"`{key}` must be a string.")
        return value

    def text_or_none(self, key: str) -> str | None:
        """A string, if it is there."""
        return self.text(key) if self.has(key) else None

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number from 0 up."""
        value = self._fields.get(key, default)
        if type(value) is not int or not 0 <= value <= MAX_INTEGER:
            raise self.bad(f"`{key}` must be a whole number.")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._fields.get(key, default)
        if not isinstance(value, bool):
            raise self.bad(f"`{key}` must be true or false.")
        return value

    def object(self, key: str, default: dict[str, Any] | None = None) -> dict[str, Any]:
        """An object."""
        value = self._fields.get(key, default)
        if not isinstance(value, dict):
            raise self.bad(f"`{key}` must be an object.")
        return value

    def object_or_none(self, key: str) -> dict[str, Any] | None:
        """An object, if it is there."""
        return self.object(key) if self.has(key) else None

    def objects(self, key: str, most: int, *, required: bool = True) -> list[dict[str, Any]]:
        """An array of objects."""
        values = self._array(key, most, required)
        if not all(isinstance(value, dict) for value in values):
            raise self.bad(f"`{key}` must hold objects.")
        return values

    def texts(self, key: str, most: int, *, required: bool = True) -> list[str]:
        """An array of strings."""
        values = self._array(key, most, required)
        if not all(isinstance(value, str) for value in values):
            raise self.bad(f"`{key}` must hold strings.")
        return values

    def objects_by_name(self, key: str, *, required: bool = True) -> dict[str, dict[str, Any]]:
        """An object whose values are objects."""
        found = self.object(key, None if required else {})
        if not all(isinstance(value, dict) for value in found.values()):
            raise self.bad(f"`{key}` must be an object of objects.")
        return found

    def _array(self, key: str, most: int, required: bool) -> list[Any]:
        value = self._fields.get(key, None if required else [])
        if not isinstance(value, list):
            raise self.bad(f"`{key}` must be an array.")
        if len(value) > most:
            raise self.bad(f"`{key}` has more than {most} entries.")
        return value
