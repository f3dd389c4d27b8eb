"""Filters that clients upload."""

from ranvier.accounts.filters import Filters
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("POST", "/_matrix/client/v3/user/{userId}/filter")
async def define_filter(request: Request, filters: Filters) -> Answer:
    """Keep a filter."""
    request.requester.check_is(request.parameters["userId"])
    return {"filter_id": await filters.define(request.requester.user_id, request.json())}


@endpoint("GET", "/_matrix/client/v3/user/{userId}/filter/{filterId}")
async def get_filter(request: Request, filters: Filters) -> Answer:
    """Give a filter's definition."""
    request.requester.check_is(request.parameters["userId"])
    return await filters.read(request.requester.user_id, request.parameters["filterId"])
