"""The server's endpoints against the specification, and docs/endpoints.md against both."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.spec.coverage import compare, render, served_operations
from tests.spec.operations import snake_case

from ranvier.config import build, read_text

PAGE = Path(__file__).parents[2] / "docs" / "endpoints.md"


@dataclass(frozen=True)
class Mount:
    method: str
    path: str
    access: str
    rate_limit: str | None
    name: str
    file: str
    module: str


SEND = Mount(
    "PUT",
    "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}",
    "token",
    None,
    "send_message",
    "room_send",
    "client_api.room_send",
)


def server_endpoints() -> list[Mount]:
    from ranvier.main import routes

    return [
        Mount(
            e.method,
            e.path,
            e.access,
            e.rate_limit,
            e.name,
            e.file,
            e.handler.__module__.removeprefix("ranvier."),
        )
        for e in routes()
    ]


def test_every_endpoint_stands_where_the_specification_says_and_asks_what_it_says() -> None:
    assert compare(server_endpoints()) == []


def test_every_rate_limit_is_one_that_the_configuration_knows() -> None:
    known = build(read_text("server_name: example.org", "homeserver.yaml"), Path.cwd()).rate_limits
    asked = {endpoint.rate_limit for endpoint in server_endpoints()} - {None}
    assert asked <= set(known)


def test_the_page_of_endpoints_tells_what_is_there() -> None:
    text = render(server_endpoints())
    if not PAGE.exists() or PAGE.read_text() != text:
        PAGE.write_text(text)
        pytest.fail("docs/endpoints.md was stale; it is rewritten, commit it")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"access": "open"}, "access is 'open'"),
        ({"rate_limit": "message"}, "has no rate limit"),
        ({"name": "send"}, "should be send_message"),
        ({"module": "client_api.sending"}, "should stand in client_api.room_send"),
        ({"path": "/_matrix/client/v3/rooms/{roomId}/sent/{eventType}/{txnId}"}, "no such operation"),
        ({"method": "POST"}, "no such operation"),
    ],
)
def test_a_comparison_names_each_kind_of_disagreement(change: dict[str, str], word: str) -> None:
    [fault] = compare([replace(SEND, **change)])
    assert word in fault


def test_a_comparison_finds_an_endpoint_that_stands_twice() -> None:
    [fault] = compare([SEND, SEND])
    assert "twice" in fault


def test_paths_outside_the_specification_are_not_judged() -> None:
    assert compare([replace(SEND, path="/_synapse/admin/v1/register"), replace(SEND, path="/health")]) == []


def test_either_operation_of_a_shared_path_may_be_mounted() -> None:
    path = "/_matrix/client/v3/rooms/{roomId}/invite"
    invite = Mount("POST", path, "token", "invites", "invite_user", "inviting", "client_api.inviting")
    third_party = replace(invite, name="invite_by_3pid", module="client_api.third_party_membership")
    assert {operation.name for operation in served_operations()["POST", path]} == {
        "inviteUser",
        "inviteBy3PID",
    }
    assert compare([invite]) == []
    assert compare([third_party]) == []
    assert len(compare([replace(invite, module="client_api.elsewhere")])) == 1


@pytest.mark.parametrize(
    ("operation_id", "name"),
    [
        ("getPushRulesGlobal", "get_push_rules_global"),
        ("sendJoinV2", "send_join_v2"),
        ("queryUserByID", "query_user_by_id"),
        ("getAccount3PIDs", "get_account_3pids"),
        ("requestTokenTo3PIDMSISDN", "request_token_to_3pid_msisdn"),
        ("delete3pidFromAccount", "delete_3pid_from_account"),
    ],
)
def test_an_operation_id_becomes_a_python_name(operation_id: str, name: str) -> None:
    assert snake_case(operation_id) == name


def test_the_page_marks_what_is_missing() -> None:
    text = render([SEND])
    assert "client-server API: 1 of 164" in text
    assert "| ✔ | PUT | `/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}` | sendMessage" in text
    assert "| ✘ | GET | `/_matrix/client/v3/sync` | sync | `client_api/sync.py` |" in text
