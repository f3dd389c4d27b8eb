"""The contract itself: what it must catch, and what it must let pass."""

import json

import pytest
from tests.spec.contract import Contract, ContractViolation
from tests.spec.operations import find, load, match

CORS = {"Access-Control-Allow-Origin": "*", "Content-Type": "application/json"}
TOKEN = {"Authorization": "Bearer x"}
ROOM = "/_matrix/client/v3/rooms/%21room%3Aexample.org"


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract()


def answer(contract: Contract, method: str, path: str, status: int, value: object, **headers: str) -> None:
    contract.check_response("client-server", method, path, status, CORS | headers, json.dumps(value).encode())


def test_the_facts_hold_all_operations_of_v1_19() -> None:
    facts = load()
    assert facts.version == "v1.19"
    assert len(facts.operations) == 212
    assert all(operation.path == operation.path.strip() for operation in facts.operations)


def test_an_encoded_slash_stays_inside_its_parameter() -> None:
    template = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}"
    found = match(template, "/_matrix/client/v3/rooms/!a%2Fb:c/send/m.room.message/1%2F2")
    assert found == {"roomId": "!a/b:c", "eventType": "m.room.message", "txnId": "1/2"}


def test_a_fixed_path_wins_over_a_parameter() -> None:
    [(operation, _)] = find("client-server", "GET", "/_matrix/client/v3/pushrules/global/")
    assert operation.name == "getPushRulesGlobal"


def test_an_empty_state_key_may_lose_its_slash(contract: Contract) -> None:
    contract.check_request("client-server", "GET", f"{ROOM}/state/m.room.name", headers=TOKEN)
    contract.check_request("client-server", "GET", f"{ROOM}/state/m.room.name/", headers=TOKEN)


def test_a_good_request_passes(contract: Contract) -> None:
    contract.check_request(
        "client-server", "GET", "/_matrix/client/v3/sync", "timeout=0&full_state=true", headers=TOKEN
    )
    contract.check_request(
        "client-server", "POST", f"{ROOM}/invite", headers=TOKEN, body=b'{"user_id": "@a:example.org"}'
    )


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "word"),
    [
        ("GET", "/_matrix/client/v3/sync", "timeout=soon", None, "timeout"),
        ("GET", "/_matrix/client/v3/sync", "timeuot=0", None, "timeuot"),
        ("GET", "/_matrix/client/v3/sync", "timeout=0&timeout=1", None, "2 times"),
        ("GET", "/_matrix/client/v3/sink", "", None, "no such operation"),
        ("GET", f"{ROOM}/messages", "", None, "dir"),
        ("PUT", f"{ROOM}/send/m.room.message/1", "", None, "body is required"),
        ("PUT", f"{ROOM}/send/m.room.message/1", "", b"{", "no JSON"),
        ("POST", f"{ROOM}/invite", "", b'{"user_id": 1}', "user_id"),
        ("POST", f"{ROOM}/invite", "", b"{}", "required"),
    ],
)
def test_a_bad_request_is_caught(
    contract: Contract, method: str, path: str, query: str, body: bytes | None, word: str
) -> None:
    with pytest.raises(ContractViolation, match=word):
        contract.check_request("client-server", method, path, query, TOKEN, body)


def test_a_request_without_its_token_is_caught(contract: Contract) -> None:
    with pytest.raises(ContractViolation, match="Authorization"):
        contract.check_request("client-server", "GET", "/_matrix/client/v3/sync")


def test_a_good_answer_passes(contract: Contract) -> None:
    answer(contract, "PUT", f"{ROOM}/send/m.room.message/1", 200, {"event_id": "$abc"})
    answer(contract, "GET", "/_matrix/client/v3/sync", 200, {"next_batch": "s1"})


@pytest.mark.parametrize(
    ("status", "value", "word"),
    [
        (200, {}, "event_id"),
        (200, {"event_id": 7}, "event_id"),
        (200, {"event_id": "abc"}, "mx-event-id"),
        (201, {"event_id": "$abc"}, "neither listed"),
        (400, {"errcode": "M_FORBIDDEN"}, "'error' is a required"),
        (403, {"errcode": "M_FORBIDEN", "error": "No."}, "M_FORBIDEN"),
        (404, {"error": "No."}, "errcode"),
        (429, {"errcode": "M_LIMIT_EXCEEDED", "error": "Wait.", "retry_after_ms": "5"}, "retry_after_ms"),
        (418, {"errcode": "M_UNKNOWN", "error": "A teapot."}, "neither listed"),
    ],
)
def test_a_bad_answer_is_caught(contract: Contract, status: int, value: object, word: str) -> None:
    with pytest.raises(ContractViolation, match=word):
        answer(contract, "PUT", f"{ROOM}/send/m.room.message/1", status, value)


def test_a_step_of_interactive_authentication_that_only_prose_asks_for_passes(contract: Contract) -> None:
    path = "/_matrix/client/v3/keys/device_signing/upload"
    step = {"session": "x", "flows": [{"stages": ["m.login.password"]}], "params": {}}
    answer(contract, "POST", path, 401, step)
    with pytest.raises(ContractViolation):
        answer(contract, "POST", path, 401, {**step, "flows": [{"stages": "m.login.password"}]})
    with pytest.raises(ContractViolation):
        answer(contract, "POST", path, 401, {"flows": [{"stages": []}]})


def test_a_standard_error_passes_where_it_is_not_listed(contract: Contract) -> None:
    answer(contract, "GET", f"{ROOM}/members", 401, {"errcode": "M_MISSING_TOKEN", "error": "No token."})
    answer(
        contract, "GET", "/_matrix/client/v3/none", 404, {"errcode": "M_UNRECOGNIZED", "error": "Unknown."}
    )
    answer(contract, "GET", f"{ROOM}/members", 403, {"errcode": "ORG.EXAMPLE.NO", "error": "Not here."})


def test_an_error_may_have_a_status_that_only_its_operation_lists(contract: Contract) -> None:
    taken = {"errcode": "M_ROOM_IN_USE", "error": "Taken."}
    answer(contract, "PUT", "/_matrix/client/v3/directory/room/%23a%3Aexample.org", 409, taken)
    with pytest.raises(ContractViolation, match="neither listed"):
        answer(contract, "GET", f"{ROOM}/members", 409, taken)


def test_a_step_of_interactive_authentication_is_judged_by_its_own_schema(contract: Contract) -> None:
    path = "/_matrix/client/v3/delete_devices"
    step = {"flows": [{"stages": ["m.login.password"]}], "params": {}, "session": "x"}
    answer(contract, "POST", path, 401, step)
    answer(contract, "POST", path, 401, step | {"errcode": "M_FORBIDDEN", "error": "Wrong password."})
    with pytest.raises(ContractViolation, match="flows"):
        answer(contract, "POST", path, 401, step | {"flows": "password"})


def test_an_answer_without_cors_or_with_another_content_type_is_caught(contract: Contract) -> None:
    with pytest.raises(ContractViolation, match="Access-Control"):
        contract.check_response(
            "client-server", "GET", "/_matrix/client/v3/sync", 200, {}, b'{"next_batch": "s"}'
        )
    with pytest.raises(ContractViolation, match="Content-Type"):
        answer(
            contract,
            "GET",
            "/_matrix/client/v3/sync",
            200,
            {"next_batch": "s"},
            **{"Content-Type": "text/html"},
        )


def test_recorded_traffic_is_judged_line_by_line(contract: Contract) -> None:
    row = {
        "method": "GET",
        "path": "/_matrix/client/v3/account/whoami",
        "request_headers": TOKEN,
        "status": 200,
        "response_headers": CORS,
        "response_body": {"user_id": "@a:example.org"},
    }
    contract.check_exchange(row)
    with pytest.raises(ContractViolation, match="user_id"):
        contract.check_exchange(row | {"response_body": {"user": "@a:example.org"}})


def test_paths_outside_the_specification_pass(contract: Contract) -> None:
    contract.check_request(None, "POST", "/_synapse/admin/v1/register", body=b"{}")
    contract.check_request(None, "GET", "/_matrix/client/v3/auth/m.login.password/fallback/web", "session=x")
    contract.check_response(None, "GET", "/health", 200, {}, b"OK")
    contract.check_request(None, "GET", "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata")
