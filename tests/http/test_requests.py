"""What any request can rely on, whatever its endpoint: paths, methods, bodies, queries, tokens, errors."""

import pytest
from tests.http.place import Place
from tests.http.raw import RawAnswer, RawConnection, request

from ranvier.protocol import canonical_json


async def ask(place: Place, method: str, path: str, body: bytes = b"", *headers: str) -> RawAnswer:
    async with await RawConnection.open(place.address) as raw:
        await raw.send(request(method, path, body, *headers))
        return await raw.answer(head_only=method == "HEAD")


# Paths and methods.


async def test_a_path_that_does_not_exist_is_unrecognized(place: Place):
    answer = await ask(place, "GET", "/nowhere?access_token=secret")
    assert (answer.status, answer.json["errcode"]) == (404, "M_UNRECOGNIZED")
    assert b"secret" not in answer.body


async def test_a_method_that_a_path_does_not_know_is_not_allowed(place: Place):
    answer = await ask(place, "DELETE", "/letters")
    assert (answer.status, answer.json["errcode"]) == (405, "M_UNRECOGNIZED")
    assert "PUT" in answer.json["error"]


async def test_an_encoded_slash_stays_within_its_parameter(place: Place):
    answer = await ask(place, "GET", "/rooms/%21a%2Fb%3Atest/members/%40%C3%A4%3Atest")
    assert answer.json == {"roomId": "!a/b:test", "userId": "@ä:test"}


async def test_a_parameter_that_is_not_utf_8_is_refused(place: Place):
    answer = await ask(place, "GET", "/rooms/%FF%FE/members/x")
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_a_parameter_with_the_null_character_is_refused(place: Place):
    for path in ("/rooms/a%00b/members/x", "/open?q=a%00b"):
        answer = await ask(place, "GET", path)
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_a_half_percent_sign_is_taken_as_it_is(place: Place):
    assert (await ask(place, "GET", "/rooms/100%/members/%zz")).json == {"roomId": "100%", "userId": "%zz"}


async def test_a_path_of_very_many_parts_is_unrecognized(place: Place):
    assert (await ask(place, "GET", "/a" * 5000)).status == 404


async def test_an_empty_state_key_may_leave_out_its_slash(place: Place):
    for path in ("/rooms/r/state/m.room.name", "/rooms/r/state/m.room.name/"):
        answer = await ask(place, "GET", path)
        assert answer.json == {"roomId": "r", "eventType": "m.room.name", "stateKey": ""}


async def test_older_names_of_a_version_still_lead_there(place: Place):
    for path in ("/_matrix/client/r0/me", "/_matrix/client/v3/me/"):
        assert (await ask(place, "GET", path, b"", "Authorization: Bearer alice")).status == 200


# Web pages as clients.


async def test_every_answer_may_be_read_by_a_web_page(place: Place):
    for method, path in (("GET", "/open"), ("GET", "/nowhere"), ("GET", "/broken"), ("PUT", "/letters")):
        answer = await ask(place, method, path)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "PUT" in answer.headers["access-control-allow-methods"]
        assert "Authorization" in answer.headers["access-control-allow-headers"]


async def test_a_preflight_is_answered_for_every_path_and_runs_no_endpoint(place: Place):
    for path in ("/open", "/_matrix/client/v3/me", "/nowhere/at/all"):
        answer = await ask(place, "OPTIONS", path, b"", "Origin: https://app.example")
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == "*"
    assert place.seen.calls == 0


# Bodies.


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b"", "M_NOT_JSON"),
        (b"not json", "M_NOT_JSON"),
        (b'{"a":1', "M_NOT_JSON"),
        (b'{"a":1} trailing', "M_NOT_JSON"),
        (b'{"a":NaN}', "M_NOT_JSON"),
        (b'{"a":"\xff"}', "M_NOT_JSON"),
        (b'{"a":"\\ud800"}', "M_NOT_JSON"),
        (b"[1,2]", "M_BAD_JSON"),
        (b'"text"', "M_BAD_JSON"),
        (b"null", "M_BAD_JSON"),
        (b'{"a":1,"a":2}', "M_BAD_JSON"),
        (b'{"a":{"b":1,"b":2}}', "M_BAD_JSON"),
        (b'{"a":18446744073709551616}', "M_BAD_JSON"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(place: Place, body: bytes, errcode: str):
    answer = await ask(place, "PUT", "/json", body)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)
    assert len(answer.json["error"]) > 20


async def test_a_body_of_very_many_tiny_values_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ranvier.http.request._VALUES", 1000)
    answer = await ask(place, "PUT", "/json", b'{"a":[' + b"{}," * 2000 + b"{}]}")
    assert (answer.status, answer.json["errcode"]) == (413, "M_TOO_LARGE")
    assert (await ask(place, "PUT", "/json", b'{"a":[' + b"1," * 900 + b"1]}")).status == 200
    long = b'{"a":[' + b",".join([b'"%s"' % (b"x" * 80)] * 2000) + b"]}"
    assert (await ask(place, "PUT", "/json", long)).status == 200


async def test_json_may_be_nested_deeply_but_not_without_end(place: Place):
    def nested(depth: int) -> bytes:
        return b'{"a":' * depth + b"1" + b"}" * depth

    assert (await ask(place, "PUT", "/json", nested(canonical_json.MAX_NESTING))).status == 200
    for depth in (canonical_json.MAX_NESTING + 1, 1000, 20_000):
        answer = await ask(place, "PUT", "/json", nested(depth))
        assert answer.status == 400
        assert answer.json["errcode"] in ("M_BAD_JSON", "M_NOT_JSON")


@pytest.mark.parametrize(
    ("body", "errcode", "word"),
    [
        (b"{}", "M_MISSING_PARAM", "to"),
        (b'{"to":5}', "M_BAD_JSON", "to"),
        (b'{"to":null}', "M_BAD_JSON", "to"),
        (b'{"to":"x","pages":"two"}', "M_BAD_JSON", "pages"),
        (b'{"to":"x","pages":1.5}', "M_BAD_JSON", "pages"),
        (b'{"to":"a\\u0000b"}', "M_BAD_JSON", "U+0000"),
    ],
)
async def test_a_body_of_the_wrong_form_is_refused_by_name(
    place: Place, body: bytes, errcode: str, word: str
):
    answer = await ask(place, "PUT", "/letters", body)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)
    assert word in answer.json["error"]


async def test_unknown_fields_of_a_body_are_passed_over(place: Place):
    answer = await ask(place, "PUT", "/letters", b'{"to":"x","org.example.colour":"blue","a\\\\u0000b":1}')
    assert answer.json == {"to": "x", "pages": 1}


async def test_the_content_type_of_a_json_body_does_not_matter(place: Place):
    answer = await ask(
        place, "PUT", "/letters", b'{"to":"x"}', "Content-Type: application/x-www-form-urlencoded"
    )
    assert answer.status == 200


# Queries.


async def test_the_last_of_several_values_of_a_query_counts(place: Place):
    assert (await ask(place, "GET", "/open?q=1&q=a%20b%2Bc+d")).json["query"] == "a b+c d"


@pytest.mark.parametrize("query", ["n=x", "n=-1", "n=1.5", "n=99999999999999999999999", "n=%EF%BC%91x", "n="])
async def test_a_number_in_a_query_must_be_one(place: Place, query: str):
    answer = await ask(place, "GET", f"/open?{query}")
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_a_number_in_a_query_is_cut_to_the_most_that_is_allowed(place: Place):
    assert (await ask(place, "GET", "/open?n=7")).json["n"] == 7
    assert (await ask(place, "GET", "/open?n=5000")).json["n"] == 10


@pytest.mark.parametrize("query", ["q=%FF", "&".join(f"f{n}=1" for n in range(200)) + "&q=1"])
async def test_a_query_that_cannot_be_read_is_refused(place: Place, query: str):
    answer = await ask(place, "GET", f"/open?{query}")
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


# Tokens.


@pytest.mark.parametrize(
    ("path", "headers", "status", "errcode"),
    [
        ("/_matrix/client/v3/me", (), 401, "M_MISSING_TOKEN"),
        ("/_matrix/client/v3/me", ("Authorization: Bearer",), 401, "M_MISSING_TOKEN"),
        ("/_matrix/client/v3/me", ("Authorization: Basic YTpi",), 401, "M_MISSING_TOKEN"),
        ("/_matrix/client/v3/me?access_token=", (), 401, "M_MISSING_TOKEN"),
        ("/_matrix/client/v3/me", ("Authorization: Bearer eve",), 401, "M_UNKNOWN_TOKEN"),
        ("/_matrix/client/v3/me", ("Authorization: Bearer \xe4\xff",), 401, "M_UNKNOWN_TOKEN"),
        ("/maybe", ("Authorization: Bearer eve",), 401, "M_UNKNOWN_TOKEN"),
        ("/_matrix/client/v3/me", ("Authorization: Bearer locked",), 401, "M_USER_LOCKED"),
    ],
)
async def test_a_token_that_is_missing_or_bad_is_refused(
    place: Place, path: str, headers: tuple[str, ...], status: int, errcode: str
):
    answer = await ask(place, "GET", path, b"", *headers)
    assert (answer.status, answer.json["errcode"]) == (status, errcode)


async def test_a_token_may_stand_in_the_header_or_the_query(place: Place):
    for path, headers in (
        ("/_matrix/client/v3/me", ("Authorization: Bearer alice",)),
        ("/_matrix/client/v3/me", ("authorization: bearer   alice ",)),
        ("/_matrix/client/v3/me?access_token=alice", ()),
    ):
        assert (await ask(place, "GET", path, b"", *headers)).json == {"user_id": "@alice:test"}


async def test_a_token_is_optional_where_the_endpoint_says_so(place: Place):
    assert (await ask(place, "GET", "/maybe")).json == {"known": False}
    assert (await ask(place, "GET", "/maybe", b"", "Authorization: Bearer bob")).json == {"known": True}


async def test_a_locked_user_may_do_the_little_that_is_allowed(place: Place):
    assert (await ask(place, "POST", "/unlock", b"{}", "Authorization: Bearer locked")).status == 200


# Failures.


async def test_a_bug_is_a_500_that_names_the_request_and_nothing_else(
    place: Place, caplog: pytest.LogCaptureFixture
):
    answer = await ask(place, "GET", "/broken?access_token=s3cret")
    assert (answer.status, answer.json["errcode"]) == (500, "M_UNKNOWN")
    assert "secret-looking" not in answer.json["error"]
    logged = caplog.text
    assert "KeyError" in logged
    assert "s3cret" not in logged
    assert (await ask(place, "GET", "/open")).status == 200


async def test_a_full_writer_says_when_to_come_back(place: Place):
    answer = await ask(place, "GET", "/busy")
    assert (answer.status, answer.json["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert answer.json["retry_after_ms"] == 2000
    assert answer.headers["retry-after"] == "2"
