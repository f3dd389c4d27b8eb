"""The age of the last events to and from nominated servers (`federation_metrics_domains`), as dashboards name it."""

from collections.abc import Iterator, Mapping

from ranvier.federation.last_pdus import LastPdus
from ranvier.http.metrics import Family, Sample


class LastPduFigures:
    """Shows what is noted, and nothing of servers with which there was nothing yet."""

    def __init__(self, last_pdus: LastPdus) -> None:
        self._last_pdus = last_pdus

    def families(self) -> Iterator[Family]:
        """When an event last came, and went."""
        yield _family("received", "origin_server_name", "came from", self._last_pdus.received)
        yield _family("sent", "destination_server_name", "was taken by", self._last_pdus.sent)


def _family(what: str, label: str, words: str, times: Mapping[str, float]) -> Family:
    return Family(
        f"synapse_federation_last_{what}_pdu_time",
        "gauge",
        f"When an event last {words} a nominated server, in seconds since the epoch.",
        [Sample(seconds, {label: name}) for name, seconds in sorted(times.items())],
    )
