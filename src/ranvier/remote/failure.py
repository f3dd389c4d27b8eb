"""What became of a request to another server that did not bring what was asked for."""

_OF_REQUESTERS = frozenset(
    {
        "M_MISSING_TOKEN",
        "M_UNKNOWN_TOKEN",
        "M_UNAUTHORIZED",
        "M_USER_DEACTIVATED",
        "M_USER_LOCKED",
        "M_USER_SUSPENDED",
        "M_CONSENT_NOT_GIVEN",
        "M_GUEST_ACCESS_FORBIDDEN",
    }
)
"""Error codes that say something of who asks. Clients take them for this server's word on their own session."""


class RemoteFailure(Exception):
    """Another server did not answer, answered no, or answered something that can't be used.

    `reason` is a sentence; `status`, `errcode` and `error` are the peer's, where it answered; `retry_after_ms` is what
    it asked for, or how long this server leaves it alone. `was_tried` is False where nothing was sent: the destination
    is being left alone after failures, or the configuration does not allow it. `is_final`: trying again at once
    brings the same.
    """

    def __init__(
        self,
        destination: str,
        reason: str,
        *,
        status: int | None = None,
        errcode: str | None = None,
        error: str | None = None,
        retry_after_ms: int | None = None,
        was_tried: bool = True,
        is_final: bool = False,
    ) -> None:
        super().__init__(f"{destination}: {reason}")
        self.destination = destination
        self.reason = reason
        self.status = status
        self.errcode = errcode
        self.error = error
        self.retry_after_ms = retry_after_ms
        self.was_tried = was_tried
        self.is_final = is_final

    @property
    def refused(self) -> bool:
        """Whether the peer answered that the request is at fault (4xx): asking again brings the same."""
        return self.status is not None and 400 <= self.status < 500 and self.status != 429

    @property
    def concerns_what_was_asked(self) -> bool:
        """Whether its error code may be told to a client: it says nothing of who asked, which was this server."""
        return self.errcode is not None and self.errcode not in _OF_REQUESTERS and self.status != 401

    @property
    def is_unknown_endpoint(self) -> bool:
        """Whether the peer does not know the endpoint: an older one may do."""
        return self.status in (404, 405) and self.errcode in ("M_UNRECOGNIZED", None)
