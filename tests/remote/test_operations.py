"""Every operation of the server-server API that a server calls: what is sent is what the specification asks for, and
no answer, whatever its form, ends in anything but a value of the right form or a RemoteFailure."""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.http_client import CONTRACT
from tests.remote.scripted import Answered, Scripted
from tests.spec.operations import load

from ranvier.protocol.signing import SigningKey
from ranvier.remote import (
    backfill,
    event_auth,
    events,
    invites_v1,
    invites_v2,
    joins_v1,
    joins_v2,
    keys_query,
    keys_server,
    knocks,
    leaving_v1,
    leaving_v2,
    openid,
    public_rooms,
    query,
    room_policy,
    space_hierarchy,
    third_party_invite,
    transactions,
    user_devices,
    user_keys,
    version,
)
from ranvier.remote.allowed_servers import AllowedServers
from ranvier.remote.client import ClientRules, FederationClient
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.transport import Call

SIGNER = SigningKey("own.test", "ed25519:o", bytes(range(32)))
PEER = "peer.test"
ROOM, EVENT, USER = "!room/a:peer.test", "$event/+id", "@us/er:peer.test"
MEMBER = {
    "type": "m.room.member",
    "sender": "@u:own.test",
    "state_key": "@u:own.test",
    "origin": "own.test",
    "origin_server_ts": 1,
    "depth": 5,
    "content": {"membership": "join"},
}
SUMMARY = {"room_id": ROOM, "num_joined_members": 1, "guest_can_join": False, "world_readable": True}
TEMPLATE = {"event": {"sender": "@u:own.test"}, "room_version": "11"}
THIRD_PARTY = {
    "type": "m.room.member",
    "room_id": ROOM,
    "sender": USER,
    "state_key": "@u:own.test",
    "content": {
        "membership": "invite",
        "third_party_invite": {
            "display_name": "x",
            "signed": {"mxid": "@u:own.test", "token": "t", "signatures": {}},
        },
    },
}


class Here:
    """Back-off that never waits."""

    def wait_ms(self, destination: str) -> int:
        return 0

    async def succeeded(self, destination: str) -> None:
        pass

    async def failed(self, destination: str) -> None:
        pass


def client_of(answer: Callable[[Call], Answered]) -> tuple[FederationClient, Scripted]:
    transport = Scripted(answer)
    rules = ClientRules(retries=0)
    client = FederationClient(SIGNER, transport, Here(), AllowedServers("own.test"), rules)  # type: ignore[arg-type]
    return client, transport


@dataclass(frozen=True)
class Operation:
    """An operation's name in the specification, how it is called, and an answer that is in order."""

    name: str
    call: Callable[[FederationClient], Awaitable[Any]]
    answer: Any


JOINED = {
    "state": [{}],
    "auth_chain": [],
    "event": {},
    "members_omitted": True,
    "servers_in_room": ["a.test"],
}
DEVICES = {
    "user_id": USER,
    "stream_id": 5,
    "devices": [{"device_id": "D", "keys": {}, "device_display_name": "x"}],
    "master_key": {"keys": {}},
    "self_signing_key": {"keys": {}},
}
OPERATIONS = [
    Operation(
        "backfillRoom", lambda c: backfill.backfill_room(c, PEER, ROOM, [EVENT, "$b"], 5), {"pdus": [{}]}
    ),
    Operation(
        "getMissingPreviousEvents",
        lambda c: backfill.get_missing_previous_events(
            c, PEER, ROOM, earliest_events=["$a"], latest_events=["$b"], limit=3
        ),
        {"events": [{}]},
    ),
    Operation("getEvent", lambda c: events.get_event(c, PEER, EVENT), {"pdus": [{}]}),
    Operation(
        "getRoomState",
        lambda c: events.get_room_state(c, PEER, ROOM, EVENT),
        {"pdus": [{}], "auth_chain": [{}]},
    ),
    Operation(
        "getRoomStateIds",
        lambda c: events.get_room_state_ids(c, PEER, ROOM, EVENT),
        {"pdu_ids": ["$a"], "auth_chain_ids": ["$b"]},
    ),
    Operation(
        "getEventByTimestamp",
        lambda c: events.get_event_by_timestamp(c, PEER, ROOM, 5, "f"),
        {"event_id": "$a", "origin_server_ts": 5},
    ),
    Operation(
        "getEventAuth", lambda c: event_auth.get_event_auth(c, PEER, ROOM, EVENT), {"auth_chain": [{}]}
    ),
    Operation("makeJoin", lambda c: joins_v1.make_join(c, PEER, ROOM, USER, ("10", "11")), TEMPLATE),
    Operation(
        "sendJoinV2", lambda c: joins_v2.send_join_v2(c, PEER, ROOM, EVENT, MEMBER, omit_members=True), JOINED
    ),
    Operation("makeKnock", lambda c: knocks.make_knock(c, PEER, ROOM, USER, ("11",)), TEMPLATE),
    Operation(
        "sendKnock", lambda c: knocks.send_knock(c, PEER, ROOM, EVENT, MEMBER), {"knock_room_state": [{}]}
    ),
    Operation("makeLeave", lambda c: leaving_v1.make_leave(c, PEER, ROOM, USER), TEMPLATE),
    Operation("sendLeaveV2", lambda c: leaving_v2.send_leave_v2(c, PEER, ROOM, EVENT, MEMBER), {}),
    Operation(
        "sendInviteV1",
        lambda c: invites_v1.send_invite_v1(c, PEER, ROOM, EVENT, MEMBER, []),
        [200, {"event": {}}],
    ),
    Operation(
        "sendInviteV2",
        lambda c: invites_v2.send_invite_v2(c, PEER, ROOM, EVENT, MEMBER, "11", []),
        {"event": {}},
    ),
    Operation(
        "sendTransaction",
        lambda c: transactions.send_transaction(c, PEER, "t/1", origin_server_ts=1, pdus=[{}], edus=[]),
        {"pdus": {"$a": {}, "$b": {"error": "no"}}},
    ),
    Operation(
        "queryRoomDirectory",
        lambda c: query.query_room_directory(c, PEER, "#a/b:peer.test"),
        {"room_id": ROOM, "servers": ["a.test"]},
    ),
    Operation(
        "queryProfile", lambda c: query.query_profile(c, PEER, USER, "displayname"), {"displayname": "x"}
    ),
    Operation("queryInfo", lambda c: query.query_info(c, PEER, "other", []), {}),
    Operation("getUserDevices", lambda c: user_devices.get_user_devices(c, PEER, USER), DEVICES),
    Operation(
        "claimUserEncryptionKeys",
        lambda c: user_keys.claim_user_encryption_keys(c, PEER, {USER: {"D": "signed_curve25519"}}),
        {"one_time_keys": {USER: {"D": {"signed_curve25519:A": {}}}, "@other:peer.test": {}}},
    ),
    Operation(
        "queryUserEncryptionKeys",
        lambda c: user_keys.query_user_encryption_keys(c, PEER, {USER: []}),
        {"device_keys": {USER: {"D": {}}}, "master_keys": {USER: {}}, "self_signing_keys": {USER: {}}},
    ),
    Operation(
        "getPublicRooms",
        lambda c: public_rooms.get_public_rooms(c, PEER, limit=5, since="x", include_all_networks=True),
        {"chunk": [SUMMARY], "next_batch": "y", "prev_batch": "z", "total_room_count_estimate": 5},
    ),
    Operation(
        "queryPublicRooms",
        lambda c: public_rooms.query_public_rooms(
            c, PEER, {"filter": {"generic_search_term": "x"}, "limit": 5}
        ),
        {"chunk": [SUMMARY]},
    ),
    Operation(
        "getSpaceHierarchy",
        lambda c: space_hierarchy.get_space_hierarchy(c, PEER, ROOM, suggested_only=True),
        {
            "room": {**SUMMARY, "children_state": [{}]},
            "children": [SUMMARY],
            "inaccessible_children": ["!x:y"],
        },
    ),
    Operation(
        "exchangeThirdPartyInvite",
        lambda c: third_party_invite.exchange_third_party_invite(c, PEER, ROOM, THIRD_PARTY),
        {},
    ),
    Operation("exchangeOpenIdToken", lambda c: openid.exchange_open_id_token(c, PEER, "t"), {"sub": USER}),
    Operation(
        "getVersion", lambda c: version.get_version(c, PEER), {"server": {"name": "x", "version": "y"}}
    ),
    Operation(
        "askPolicyServerToSign",
        lambda c: room_policy.ask_policy_server_to_sign(c, PEER, MEMBER),
        {PEER: {"ed25519:policy_server": "sig"}},
    ),
    Operation("getServerKey", lambda c: keys_server.get_server_key(c, PEER), {}),
    Operation(
        "bulkPerspectivesKeyQuery",
        lambda c: keys_query.bulk_perspectives_key_query(c, PEER, {"a.test": {"ed25519:1": 5}}),
        {"server_keys": [{}]},
    ),
]
# An identity server's; a single server's keys, which the bulk form gives too; media, which is no JSON; and discovery.
ELSEWHERE = {
    "onBindThirdPartyIdentifier",
    "perspectivesKeyQuery",
    "getContent",
    "getContentThumbnail",
    "getWellKnown",
}
by_name = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


def test_every_operation_is_there() -> None:
    known = {operation.name for operation in load().operations if operation.api == "server-server"}
    assert known - ELSEWHERE == {operation.name for operation in OPERATIONS}


@by_name
async def test_what_is_sent_is_what_the_specification_asks_for(operation: Operation) -> None:
    client, transport = client_of(lambda call: (200, operation.answer))
    await operation.call(client)
    [call] = transport.calls
    path, _, raw_query = call.target.partition("?")
    CONTRACT.check_request("server-server", call.method, path, raw_query, call.headers, call.body)
    [found] = [o for o in load().operations if o.name == operation.name and o.api == "server-server"]
    assert call.method == found.method
    assert path.count("/") == found.path.count("/"), "parameters are encoded whole"


def spoiled(value: Any, depth: int = 0) -> Iterator[Any]:
    """The value with one part of another type, or without it."""
    wrong: tuple[Any, ...] = (None, 5, -1, 1.5, "x", True, [], {}, [5], [None], {"x": 5}, {"x": {}}, 2**60)
    for other in wrong:
        if type(other) is not type(value) or other in ([5], [None], {"x": 5}, {"x": {}}, -1, 2**60):
            yield other
    if depth < 4 and isinstance(value, dict):
        for key in value:
            yield {name: item for name, item in value.items() if name != key}
            for other in spoiled(value[key], depth + 1):
                yield {**value, key: other}
    if depth < 4 and isinstance(value, list):
        for place in range(len(value)):
            for other in spoiled(value[place], depth + 1):
                yield [*value[:place], other, *value[place + 1 :]]


@by_name
async def test_an_answer_of_any_other_form_is_a_value_or_a_failure(operation: Operation) -> None:
    served: list[Any] = []
    client, _ = client_of(lambda call: (200, served[-1]))
    failures = 0
    for answer in spoiled(operation.answer):
        served.append(copy.deepcopy(answer))
        try:
            await operation.call(client)
        except RemoteFailure as failure:
            failures += 1
            assert failure.destination == PEER
    assert failures > 5, "answers that are no objects are none of these"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("backfillRoom", {"pdus": [{}] * 11}),
        ("getMissingPreviousEvents", {"events": [{}] * 7}),
        ("getEvent", {"pdus": []}),
        ("getEvent", {"pdus": [{}, {}]}),
        ("makeJoin", {**TEMPLATE, "room_version": "org.example.unknown"}),
        ("sendJoinV2", {"state": [], "auth_chain": [], "members_omitted": True}),
        ("getUserDevices", {**DEVICES, "user_id": "@other:peer.test"}),
        ("getSpaceHierarchy", {"room": {**SUMMARY, "room_id": "!other:x"}, "children": []}),
        ("exchangeOpenIdToken", {"sub": "@u:own.test"}),
        ("exchangeOpenIdToken", {"sub": "nonsense"}),
        ("askPolicyServerToSign", {"other.test": {"ed25519:policy_server": "sig"}}),
        ("queryPublicRooms", {"chunk": [{**SUMMARY, "name": 5}]}),
    ],
)
async def test_what_the_peer_has_no_say_in_is_a_failure(name: str, answer: Any) -> None:
    [operation] = [operation for operation in OPERATIONS if operation.name == name]
    client, _ = client_of(lambda call: (200, answer))
    with pytest.raises(RemoteFailure):
        await operation.call(client)


async def test_what_a_peer_says_of_users_who_were_not_asked_for_is_dropped() -> None:
    found = await user_keys.claim_user_encryption_keys(
        client_of(lambda call: (200, {"one_time_keys": {"@x:y": {"D": {}}, USER: {"D": {"k": 1}}}}))[0],
        PEER,
        {USER: {"D": "signed_curve25519"}},
    )
    assert found == {USER: {"D": {"k": 1}}}


def older(path: str, answer: Any) -> Callable[[Call], Answered]:
    """A server that knows nothing but the operation of that path."""

    def answered(call: Call) -> Answered:
        if path in call.target:
            return 200, answer
        return 404, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}

    return answered


async def test_older_servers_are_spoken_with_in_their_form() -> None:
    client, transport = client_of(older("/v1/send_join/", [200, {"state": [], "auth_chain": [{}]}]))
    joined = await joins_v2.send_join_v2(client, PEER, ROOM, EVENT, MEMBER)
    assert (joined.auth_chain, joined.members_omitted) == ([{}], False)
    assert len(transport.calls) == 2
    client, _ = client_of(older("/v1/send_leave/", [200, {}]))
    await leaving_v2.send_leave_v2(client, PEER, ROOM, EVENT, MEMBER)
    client, transport = client_of(older("/v1/invite/", [200, {"event": {"a": 1}}]))
    assert await invites_v2.send_invite_v2(client, PEER, ROOM, EVENT, MEMBER, "1", [{}]) == {"a": 1}
    body = json.loads(transport.calls[-1].body or b"")
    assert body["unsigned"] == {"invite_room_state": [{}]}
    with pytest.raises(RemoteFailure):
        # The old form tells no room version, so an event of a newer one would be misread.
        await invites_v2.send_invite_v2(client, PEER, ROOM, EVENT, MEMBER, "11", [])


async def test_a_refusal_is_no_reason_for_the_older_form() -> None:
    client, transport = client_of(lambda call: (403, {"errcode": "M_FORBIDDEN", "error": "No."}))
    with pytest.raises(RemoteFailure, match="No"):
        await joins_v2.send_join_v2(client, PEER, ROOM, EVENT, MEMBER)
    assert len(transport.calls) == 1
