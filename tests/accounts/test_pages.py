"""The pages that do a stage of interactive authentication, and what clients discover."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.server import PASSWORD, Server

from ranvier.accounts.discovery import ADDED, Discovery, early_features, spoken_versions
from ranvier.store import registration_tokens

FALLBACK = "/_matrix/client/v3/auth"
ALL = {operation for _, operations in ADDED for operation in operations}


def test_versions_end_where_something_is_missing():
    assert spoken_versions(set()) == ["r0.6.1"]
    everything = spoken_versions(ALL)
    assert everything[-1] == "v1.19"
    assert len(everything) == 20
    missing = {operation for operation in ALL if not operation[1].endswith("/threads")}
    assert spoken_versions(missing)[-1] == "v1.3"


def test_what_is_there_before_its_version_is_listed_has_a_name_of_its_own():
    media = {operation for operation in ALL if "/media/" in operation[1]}
    assert early_features(media) == {"org.matrix.msc3916.stable": True}
    threads = {operation for operation in ALL if "/threads" in operation[1] or "/relations/" in operation[1]}
    assert early_features(threads).keys() >= {"org.matrix.msc3440.stable", "org.matrix.msc3773"}
    assert early_features(ALL) == early_features(set()) == {}


def test_every_operation_that_a_version_waits_for_is_one_of_the_specification():
    from tests.spec.operations import load

    known = {(operation.method, operation.path) for operation in load().operations}
    assert known >= ALL


def test_a_version_waits_for_what_the_specification_says_it_added():
    from tests.spec.operations import load

    added = {(operation.method, operation.path): operation.added for operation in load().operations}
    for version, operations in ADDED:
        assert {added[operation] for operation in operations} <= {version.removeprefix("v"), None}


async def test_the_server_lists_what_it_really_serves(server: Server):
    served = {(route.endpoint.method, route.endpoint.path) for route in server.composition.routes}
    assert (await server.client.get("/_matrix/client/versions")).ok()["versions"] == spoken_versions(served)


async def test_without_a_public_address_there_is_no_well_known_document(server: Server):
    answer = await server.client.get("/.well-known/matrix/client", valid=False)
    assert answer.status == 404
    assert (await server.client.get("/.well-known/matrix/support", valid=False)).status == 404


class TestWithPublicAddress:
    @pytest.fixture
    def server_overrides(self) -> dict[str, Any]:
        return {
            "public_baseurl": "https://matrix.ranvier.test/",
            "extra_well_known_client_content": {"org.example": {"a": 1}},
        }

    async def test_clients_are_told_where_the_server_is(self, server: Server):
        document = (await server.client.get("/.well-known/matrix/client")).ok()
        assert document["m.homeserver"] == {"base_url": "https://matrix.ranvier.test/"}
        assert document["org.example"] == {"a": 1}
        await server.register("alice")
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "alice"},
            "password": PASSWORD,
        }
        assert (await server.client.post("/_matrix/client/v3/login", json=login)).ok()[
            "well_known"
        ] == document


def test_what_is_configured_beside_the_address_can_not_replace_it():
    discovery = Discovery((), "https://a.test", {"m.homeserver": {"base_url": "https://evil.test"}})
    assert discovery.client_document() == {"m.homeserver": {"base_url": "https://a.test"}}


class TestWhereATokenIsNeeded:
    @pytest.fixture
    def server_overrides(self) -> dict[str, Any]:
        return {"registration_requires_token": True}

    async def test_a_page_takes_the_token_and_the_client_goes_on(self, server: Server):
        writer = server.composition.ground.writer
        await writer.run(lambda transaction: registration_tokens.create(transaction, "sesame", 1, None))
        body = {"username": "alice", "password": PASSWORD}
        asked = await server.client.post("/_matrix/client/v3/register", json=body)
        session = asked.json["session"]
        page = f"{FALLBACK}/m.login.registration_token/fallback/web"
        shown = await server.client.get(page, query={"session": session}, valid=False)
        assert shown.status == 200
        assert shown.headers["content-type"].startswith("text/html")
        assert re.search(rb'<input name="token"', shown.body)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        query = {"session": session}
        wrong = await server.client.post(page, query=query, body=b"token=open", headers=form, valid=False)
        assert b"unknown, expired or used up" in wrong.body
        assert b"onAuthDone" not in wrong.body
        done = await server.client.post(page, query=query, body=b"token=sesame", headers=form, valid=False)
        assert b"onAuthDone" in done.body
        auth = {"session": session}
        on = await server.client.post("/_matrix/client/v3/register", json={"auth": auth})
        assert (on.status, on.json["completed"]) == (401, ["m.login.registration_token"])
        auth["type"] = "m.login.dummy"
        made = await server.client.post("/_matrix/client/v3/register", json={"auth": auth})
        assert made.ok()["user_id"] == "@alice:ranvier.test"


async def test_a_page_shows_nothing_of_what_the_address_holds_as_markup(server: Server):
    page = f"{FALLBACK}/m.login.dummy/fallback/web"
    evil = '"><script>alert(1)</script>'
    shown = await server.client.get(page, query={"session": evil}, valid=False)
    assert shown.status == 200
    assert b"<script>alert" not in shown.body
    posted = await server.client.post(page, query={"session": evil}, body=b"", valid=False)
    assert b"<script>alert" not in posted.body
    assert b"onAuthDone" not in posted.body


async def test_a_form_of_very_many_fields_is_refused(server: Server):
    page = f"{FALLBACK}/m.login.password/fallback/web"
    answer = await server.client.post(page, query={"session": "x"}, body=b"token=a&" * 30, valid=False)
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")


async def test_no_other_site_may_frame_a_page(server: Server):
    page = f"{FALLBACK}/m.login.dummy/fallback/web"
    shown = await server.client.get(page, query={"session": "x"}, valid=False)
    assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]


async def test_there_is_no_page_for_a_stage_that_is_not_offered(server: Server):
    answer = await server.client.get(
        f"{FALLBACK}/m.login.sso/fallback/web", query={"session": "x"}, valid=False
    )
    assert answer.status == 404
