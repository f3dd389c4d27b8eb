"""The server for the tests of sync."""

from tests.server import server as server  # noqa: PLC0414 - a fixture
