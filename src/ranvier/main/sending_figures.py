"""What the sender of transactions counts, as the dashboards for Synapse name it, and some figures of our own."""

from collections.abc import Callable, Iterator

from ranvier.federation.destinations import Destinations
from ranvier.federation.handing_over import HandingOver
from ranvier.federation.lanes import Lanes
from ranvier.federation.routing import Feed, Routing
from ranvier.http.metrics import Family, Histogram, Sample

_CONSUMER = {"name": "federation_sender"}


class SendingFigures:
    """Gathers them when somebody asks. `now` is the time in milliseconds since the epoch."""

    def __init__(
        self,
        handing_over: HandingOver,
        destinations: Destinations,
        lanes: Lanes,
        routing: Routing,
        feed: Feed,
        now: Callable[[], int],
    ) -> None:
        self._handing_over = handing_over
        self._destinations = destinations
        self._lanes = lanes
        self._routing = routing
        self._feed = feed
        self._now = now
        self._lag = Histogram()
        self._last_ts = 0
        routing.when_looked_at(self._note)

    def _note(self, received_ts: int) -> None:
        self._last_ts = received_ts
        self._lag.observe(max(0, self._now() - received_ts) / 1000)

    def families(self) -> Iterator[Family]:
        """All of them."""
        yield from self._sent()
        yield from self._queues()
        yield Family(
            "synapse_event_processing_positions",
            "gauge",
            "Up to where a consumer has looked at the log.",
            [Sample(self._routing.position, _CONSUMER)],
        )
        yield Family(
            "synapse_event_processing_last_ts",
            "gauge",
            "When the last event came that a consumer looked at, in milliseconds since the epoch.",
            [Sample(self._last_ts, _CONSUMER)],
        )
        yield Family(
            "synapse_event_processing_lag_by_event",
            "histogram",
            "Seconds from the receipt of an event until a consumer looked at it.",
            list(self._lag.samples(_CONSUMER)),
        )
        yield Family(
            "ranvier_federation_log_ahead",
            "gauge",
            "Positions of the log that the sender has not looked at yet.",
            [Sample(self._feed.tip - self._routing.position)],
        )

    def _sent(self) -> Iterator[Family]:
        figures = self._handing_over.figures
        for name, value, text in (
            (
                "synapse_federation_client_sent_transactions_total",
                figures.transactions,
                "Transactions taken.",
            ),
            (
                "synapse_federation_client_sent_pdu_destinations_count_total",
                figures.pdus,
                "Events taken by a destination.",
            ),
            ("synapse_federation_client_sent_edus_total", sum(figures.edus.values()), "EDUs taken."),
            ("ranvier_federation_failed_transactions_total", figures.failures, "Transactions not taken."),
            (
                "ranvier_federation_refused_pdus_total",
                figures.refused_pdus,
                "Events refused by destinations.",
            ),
        ):
            yield Family(name, "counter", text, [Sample(value)])
        yield Family(
            "synapse_federation_client_sent_edus_by_type_total",
            "counter",
            "EDUs taken, by type.",
            [Sample(count, {"type": kind}) for kind, count in sorted(figures.edus.items())],
        )

    def _queues(self) -> Iterator[Family]:
        pdus = edus = pending = behind = 0
        for one in self._destinations:
            pdus += len(one.pdus)
            edus += len(one.receipts) + len(one.devices) + len(one.typing) + len(one.presence)
            pending += one.has_work
            behind += one.behind
        for name, value, text in (
            ("synapse_federation_transaction_queue_pending_pdus", pdus, "Events queued in memory."),
            ("synapse_federation_transaction_queue_pending_edus", edus, "EDUs queued in memory."),
            (
                "synapse_federation_transaction_queue_pending_destinations",
                pending,
                "Destinations that lack something.",
            ),
            ("ranvier_federation_destinations_behind", behind, "Destinations that have to catch up."),
            (
                "ranvier_federation_transactions_under_way",
                self._lanes.under_way,
                "Transactions on their way.",
            ),
            (
                "ranvier_federation_destinations_waiting",
                self._lanes.waiting,
                "Destinations that wait for a turn.",
            ),
        ):
            yield Family(name, "gauge", text, [Sample(value)])
