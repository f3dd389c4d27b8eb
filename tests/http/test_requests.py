"""What any request can rely on, whatever its endpoint."""

from tests.server import Server


async def test_health_is_ok(server: Server):
    answer = await server.client.get("/health")
    assert (answer.status, answer.body) == (200, b"OK")
