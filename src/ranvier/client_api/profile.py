"""Profiles of users."""

from ranvier.accounts.profiles import Profiles
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import Refusal

_PROFILE = "/_matrix/client/v3/profile/{userId}"


@endpoint("GET", _PROFILE, access="optional token")
async def get_user_profile(request: Request, profiles: Profiles) -> Answer:
    """Give the whole profile."""
    return await profiles.read(request.parameters["userId"], request.requester_or_none)


@endpoint("GET", _PROFILE + "/{keyName}", access="optional token")
async def get_profile_field(request: Request, profiles: Profiles) -> Answer:
    """Give one field."""
    name = request.parameters["keyName"]
    return {name: await profiles.read_field(request.parameters["userId"], name, request.requester_or_none)}


@endpoint("PUT", _PROFILE + "/{keyName}", rate_limit="other")
async def set_profile_field(request: Request, profiles: Profiles) -> Answer:
    """Set one field."""
    name, body = request.parameters["keyName"], request.json()
    if name not in body:
        raise Refusal("M_MISSING_PARAM", f"The body lacks '{name[:255]}'.")
    await profiles.set_field(request.requester, request.parameters["userId"], name, body[name])
    return {}


@endpoint("DELETE", _PROFILE + "/{keyName}", rate_limit="other")
async def delete_profile_field(request: Request, profiles: Profiles) -> Answer:
    """Take one field away."""
    name = request.parameters["keyName"]
    await profiles.remove_field(request.requester, request.parameters["userId"], name)
    return {}
