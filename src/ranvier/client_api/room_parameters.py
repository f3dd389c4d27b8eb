"""What the endpoints of rooms read from their requests in the same way."""

import msgspec
import orjson

from ranvier.accounts.requester import Requester
from ranvier.http.request import Request
from ranvier.protocol import canonical_json
from ranvier.protocol.filter_parsing import parse_room_event_filter
from ranvier.protocol.filters import EVERYTHING, EventFilter
from ranvier.protocol.identifiers import BadIdentifier, check_user_id, is_valid_server_name
from ranvier.protocol.refusal import Refusal, bad_json, invalid_param
from ranvier.rooms import pagination
from ranvier.rooms.history import History
from ranvier.rooms.pagination import Place
from ranvier.rooms.shaping import Reader
from ranvier.store.rooms import TransactionKey
from ranvier.sync import tokens

MAX_TRANSACTION_ID = 255
"""Bytes of a transaction id."""
MAX_SERVERS = 20
"""Servers that a request may name for a room."""
MAX_EVENTS = 1000
"""Events in one answer."""
_LONGEST_FILTER = 65_536


class Reason(msgspec.Struct):
    """A body that may give a reason."""

    reason: str | None = None


class Target(msgspec.Struct):
    """A body that names a user, and may give a reason."""

    user_id: str
    reason: str | None = None


def read_target(request: Request) -> Target:
    """The body as a `Target` whose user id is one."""
    target = request.read(Target)
    try:
        check_user_id(target.user_id)
    except BadIdentifier as error:
        raise invalid_param(f"'user_id' is not a user ID: {error}") from error
    return target


def transaction_of(request: Request, scope: str) -> TransactionKey:
    """The request's transaction id within the requester's device and this scope."""
    txn_id = request.parameters["txnId"]
    if not txn_id or len(txn_id.encode()) > MAX_TRANSACTION_ID:
        raise invalid_param(f"A transaction ID has 1 to {MAX_TRANSACTION_ID} bytes.")
    requester = request.requester
    return TransactionKey(requester.user_id, requester.device_id or "", scope, txn_id)


def refuse_guest(requester: Requester) -> None:
    """Refuse what guests may not do (Client-Server API, "Guest Access")."""
    if requester.is_guest:
        raise Refusal("M_GUEST_ACCESS_FORBIDDEN", "Guests may not do this: register an account first.")


def reader_of(request: Request) -> Reader:
    """The requester, as one who reads events."""
    return Reader(request.requester.user_id, request.requester.device_id)


def limit_of(request: Request, default: int) -> int:
    """How many events are wanted."""
    return request.query_int("limit", default, most=MAX_EVENTS)


def is_backwards(request: Request, default: str | None = None) -> bool:
    """The query's `dir`, which may be left out only if there is a default."""
    direction = request.query("dir") or default or request.query_required("dir")
    if direction not in ("b", "f"):
        raise invalid_param("'dir' must be 'b' (backwards) or 'f' (forwards).")
    return direction == "b"


async def place_of(request: Request, name: str, room_id: str, history: History) -> Place | None:
    """The place in the room's history that a token of the query means: one of pagination, or one of sync."""
    token = request.query(name)
    # COMPAT(older clients): a token that is left empty means none.
    if not token:
        return None
    if token[0] == "t":
        return pagination.parse(token)
    return await history.place_at(room_id, tokens.parse(token).position)


def filter_of(request: Request) -> EventFilter:
    """The RoomEventFilter of the query, given as JSON."""
    text = request.query("filter")
    if not text:
        return EVERYTHING
    if len(text) > _LONGEST_FILTER:
        raise Refusal("M_TOO_LARGE", f"A filter has at most {_LONGEST_FILTER} characters.")
    try:
        return parse_room_event_filter(canonical_json.decode(text.encode()))
    except canonical_json.BadJson as error:
        raise bad_json(f"'filter' is not JSON: {error}") from error


def servers_of(request: Request) -> list[str]:
    """The servers that the query names as being in a room: `via`, or `server_name` as older clients say."""
    named = [*request.query_values("via"), *request.query_values("server_name")]
    return [name for name in dict.fromkeys(named[:MAX_SERVERS]) if is_valid_server_name(name)]


def text_json(text: str) -> bytes:
    """A text as JSON."""
    return orjson.dumps(text)
