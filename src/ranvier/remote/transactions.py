"""Handing over a transaction of events and ephemera (`transactions.yaml`)."""

from collections.abc import Sequence
from typing import Any, Final

from ranvier.remote.client import FederationClient, path_of
from ranvier.remote.shapes import Shape

MAX_PDUS: Final = 50
MAX_EDUS: Final = 100

_MAX_ANSWER: Final = 1024 * 1024
_MAX_REASON: Final = 500


async def send_transaction(
    client: FederationClient,
    destination: str,
    txn_id: str,
    *,
    origin_server_ts: int,
    pdus: Sequence[dict[str, Any]] = (),
    edus: Sequence[dict[str, Any]] = (),
    timeout_s: float | None = None,
    patient: bool = False,
) -> dict[str, str]:
    """Reasons by event ID for the PDUs that the destination did not take; those must not be sent again.

    At most `MAX_PDUS` and `MAX_EDUS`; `origin_server_ts` in milliseconds. A transaction that failed is sent again
    under the same ID with the same content; with `patient`, that is done for minutes. Raises RemoteFailure.
    """
    body: dict[str, Any] = {
        "origin": client.server_name,
        "origin_server_ts": origin_server_ts,
        "pdus": list(pdus),
    }
    if edus:
        body["edus"] = list(edus)
    path = path_of("/_matrix/federation/v1/send", txn_id)
    answer = await client.request(
        destination, "PUT", path, body=body, timeout_s=timeout_s, max_bytes=_MAX_ANSWER, patient=patient
    )
    # COMPAT(older servers): `pdus` may be missing.
    results = Shape(destination, answer).objects_by_name("pdus", required=False)
    return {
        event_id: str(result["error"])[:_MAX_REASON]
        for event_id, result in results.items()
        if "error" in result
    }
