"""What the endpoints of rooms read from their requests in the same way."""

import msgspec

from ranvier.accounts.requester import Requester
from ranvier.http.request import Request
from ranvier.protocol.identifiers import BadIdentifier, check_user_id
from ranvier.protocol.refusal import Refusal, invalid_param
from ranvier.store.rooms import TransactionKey

MAX_TRANSACTION_ID = 255
"""Bytes of a transaction id."""


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
