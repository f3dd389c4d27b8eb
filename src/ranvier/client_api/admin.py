"""What the specification gives to administrators of a server."""

import msgspec

from ranvier.accounts.moderation import Moderation
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request

_SUSPEND = "/_matrix/client/v1/admin/suspend/{userId}"
_LOCK = "/_matrix/client/v1/admin/lock/{userId}"


class _Suspended(msgspec.Struct):
    suspended: bool


class _Locked(msgspec.Struct):
    locked: bool


@endpoint("GET", "/_matrix/client/v3/admin/whois/{userId}")
async def get_who_is(request: Request, moderation: Moderation) -> Answer:
    """Tell where a user's devices were last used from."""
    return await moderation.whois(request.requester, request.parameters["userId"])


@endpoint("GET", _SUSPEND)
async def get_admin_suspend_user(request: Request, moderation: Moderation) -> Answer:
    """Tell whether a user is suspended."""
    account = await moderation.find_subject(request.requester, request.parameters["userId"])
    return {"suspended": account.suspended}


@endpoint("PUT", _SUSPEND)
async def set_admin_suspend_user(request: Request, moderation: Moderation) -> Answer:
    """Suspend a user, or lift it."""
    account = await moderation.find_subject(request.requester, request.parameters["userId"])
    wanted = request.read(_Suspended).suspended
    await moderation.set_flag(account.user_id, "suspended", wanted)
    return {"suspended": wanted}


@endpoint("GET", _LOCK)
async def get_admin_lock_user(request: Request, moderation: Moderation) -> Answer:
    """Tell whether a user is locked."""
    account = await moderation.find_subject(request.requester, request.parameters["userId"])
    return {"locked": account.locked}


@endpoint("PUT", _LOCK)
async def set_admin_lock_user(request: Request, moderation: Moderation) -> Answer:
    """Lock a user, or unlock."""
    account = await moderation.find_subject(request.requester, request.parameters["userId"])
    wanted = request.read(_Locked).locked
    await moderation.set_flag(account.user_id, "locked", wanted)
    return {"locked": wanted}
