"""Cross-signing keys, and signatures on keys."""

from typing import Any

import msgspec

from ranvier.accounts.interactive_auth import InteractiveAuth
from ranvier.encryption.cross_signing import AuthenticationNeeded, CrossSigning
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import bad_json
from ranvier.store.cross_signing import Purpose

_MEMBERS: dict[str, Purpose] = {
    "master_key": "master",
    "self_signing_key": "self_signing",
    "user_signing_key": "user_signing",
}
_Signatures = dict[str, dict[str, dict[str, Any]]]


class _Upload(msgspec.Struct):
    master_key: dict[str, Any] | None = None
    self_signing_key: dict[str, Any] | None = None
    user_signing_key: dict[str, Any] | None = None
    auth: dict[str, Any] | None = None


def _keys(body: dict[str, Any]) -> dict[Purpose, dict[str, Any]]:
    return {purpose: body[name] for name, purpose in _MEMBERS.items() if body.get(name) is not None}


@endpoint("POST", "/_matrix/client/v3/keys/device_signing/upload")
async def upload_cross_signing_keys(
    request: Request, cross_signing: CrossSigning, authentication: InteractiveAuth
) -> Answer:
    """Publish cross-signing keys; replacing them needs the user's confirmation."""
    request.read(_Upload)
    body = request.json()
    requester = request.requester
    try:
        # With nothing but `auth`, the session holds the keys.
        if _keys(body) or "auth" not in body:
            await cross_signing.upload(requester.user_id, _keys(body), authenticated=False)
            return {}
    except AuthenticationNeeded:
        pass
    confirmed = await authentication.confirm(requester, "POST /keys/device_signing/upload", body)
    await cross_signing.upload(requester.user_id, _keys(confirmed), authenticated=True)
    return {}


@endpoint("POST", "/_matrix/client/v3/keys/signatures/upload")
async def upload_cross_signing_signatures(request: Request, cross_signing: CrossSigning) -> Answer:
    """Add signatures to keys."""
    try:
        objects = msgspec.convert(request.json(), _Signatures)
    except msgspec.ValidationError as error:
        raise bad_json(f"The body must be keys by user and key id: {error}.") from error
    return {"failures": await cross_signing.add_signatures(request.requester.user_id, objects)}
