"""Nobody registers without accepting the documents that the configuration names."""

from typing import Any

import pytest
from tests.server import Server

REGISTER = "/_matrix/client/v3/register"
PRIVACY = {"id": "privacy", "version": "1.2", "name": "Privacy", "url": "https://ranvier.test/privacy"}


@pytest.fixture
def server_overrides() -> dict[str, Any]:
    german = {**PRIVACY, "language": "de", "name": "Datenschutz", "url": "https://ranvier.test/datenschutz"}
    return {"registration_terms": [PRIVACY, german]}


async def test_who_registers_is_shown_the_documents_and_has_to_accept_them(server: Server):
    body = {"username": "alice", "password": "correct horse"}
    asked = await server.client.post(REGISTER, json=body)
    assert asked.status == 401
    assert asked.json["flows"] == [{"stages": ["m.login.dummy", "m.login.terms"]}]
    assert asked.json["params"]["m.login.terms"]["policies"] == {
        "privacy": {
            "version": "1.2",
            "en": {"name": "Privacy", "url": "https://ranvier.test/privacy"},
            "de": {"name": "Datenschutz", "url": "https://ranvier.test/datenschutz"},
        }
    }
    session = {"session": asked.json["session"]}
    page = await server.client.get("/_matrix/client/v3/auth/m.login.terms/fallback/web", query=session)
    assert "https://ranvier.test/privacy" in page.body.decode()
    short = await server.client.post(REGISTER, json={**body, "auth": {"type": "m.login.dummy", **session}})
    assert (short.status, short.json["completed"]) == (401, ["m.login.dummy"])
    done = await server.client.post(REGISTER, json={**body, "auth": {"type": "m.login.terms", **session}})
    assert done.ok()["user_id"] == "@alice:ranvier.test"
