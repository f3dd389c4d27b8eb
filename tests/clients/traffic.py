"""What the clients asked and what the server answered: collected, judged, listed, written to a file."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.spec.operations import find

# A JSON-lines file that receives every exchange; tests.spec.contract reads it.
TRAFFIC_FILE = "RANVIER_TEST_TRAFFIC"
# A text file that receives the list of endpoints with the answers' counts.
ENDPOINTS_FILE = "RANVIER_TEST_ENDPOINTS"
# How long after an outage an SDK may still log of it.
AFTERMATH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer; `status` is None when no answer came. Times are seconds since 1970."""

    client: str
    method: str
    path: str
    query: str
    request_headers: Mapping[str, str]
    request_body: str
    status: int | None
    response_headers: Mapping[str, str]
    response_body: str
    error: str | None
    began: float
    ended: float

    @property
    def endpoint(self) -> str:
        """The specification's path for the request; the raw path where it has none."""
        found = find("client-server", self.method, self.path)
        return (
            found[0][0].path if found else re.sub(r"(?<=/)(%40|%21|%23|%24|[@!#$])[^/]+", "{id}", self.path)
        )

    @property
    def answer(self) -> Any:
        """The answer's JSON, or None."""
        try:
            return json.loads(self.response_body)
        except ValueError:
            return None

    @property
    def question(self) -> Any:
        """The request's JSON, or None."""
        try:
            return json.loads(self.request_body)
        except ValueError:
            return None

    @property
    def errcode(self) -> str | None:
        answer = self.answer
        return answer.get("errcode") if isinstance(answer, dict) else None

    def __str__(self) -> str:
        outcome = self.error if self.status is None else f"{self.status} {self.response_body[:300]}"
        return f"{self.client}: {self.method} {self.path}?{self.query} -> {outcome}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal that belongs to the protocol: a client asks in order to be told no."""

    method: str
    endpoint: str
    status: int
    errcode: str | None
    reason: str

    def covers(self, exchange: Exchange) -> bool:
        return (
            exchange.method == self.method
            and exchange.status == self.status
            and exchange.errcode == self.errcode
            and re.fullmatch(self.endpoint, exchange.endpoint) is not None
        )


_V3 = "/_matrix/client/v3"
EXPECTED_REFUSALS = (
    Refusal("POST", f"{_V3}/register", 401, None, "the first step of interactive authentication"),
    Refusal(
        "POST", f"{_V3}/keys/device_signing/upload", 401, None, "the first step of interactive authentication"
    ),
    Refusal("GET", f"{_V3}/room_keys/version", 404, "M_NOT_FOUND", "no key backup has been made yet"),
    Refusal(
        "GET",
        rf"{_V3}/user/\{{userId\}}/account_data/\{{type\}}",
        404,
        "M_NOT_FOUND",
        "that account data has not been set yet",
    ),
    Refusal(
        "GET",
        rf"{_V3}/room_keys/keys/\{{roomId\}}/\{{sessionId\}}",
        404,
        "M_NOT_FOUND",
        "a device without a key looks whether another has backed it up already",
    ),
    Refusal(
        "GET",
        "/_matrix/client/unstable/.*",
        404,
        "M_UNRECOGNIZED",
        "matrix-js-sdk looks whether an unstable extension is there",
    ),
)


@dataclass(slots=True)
class Traffic:
    """All exchanges of a test, and the times at which the server was known to be down."""

    exchanges: list[Exchange] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    expected: list[Refusal] = field(default_factory=lambda: list(EXPECTED_REFUSALS))

    def add(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def complain(self, text: str) -> None:
        """Notes what a client found wrong with the server; `check` fails on it."""
        self.complaints.append(text)

    def expect(self, method: str, endpoint: str, status: int, errcode: str | None, reason: str) -> None:
        """Allows a refusal that the test asks for; `endpoint` is a regular expression of the spec's path."""
        self.expected.append(Refusal(method, endpoint, status, errcode, reason))

    def hear(self, sdk: str, level: str, text: str, at: float) -> None:
        """Takes what an SDK logs; what it can't cope with while the server is up is a complaint."""
        is_away = any(begin <= at <= end + AFTERMATH_SECONDS for begin, end in self.outages)
        if level in ("error", "unhandled") and not is_away:
            self.complain(f"{sdk} logged: {text[:2000]}")

    @contextmanager
    def outage(self) -> Iterator[None]:
        """While this runs the server may fail to answer."""
        began = time.time()
        self.outages.append((began, float("inf")))
        try:
            yield
        finally:
            self.outages[-1] = (began, time.time())

    def is_during_outage(self, exchange: Exchange) -> bool:
        return any(exchange.began <= end and exchange.ended >= begin for begin, end in self.outages)

    def is_fine(self, exchange: Exchange) -> bool:
        if exchange.status is None:
            return exchange.error == "aborted by the client" or self.is_during_outage(exchange)
        return exchange.status < 400 or any(refusal.covers(exchange) for refusal in self.expected)

    def check(self) -> None:
        """Raises AssertionError when the server refused, failed or confused a client unexpectedly."""
        faults = [str(exchange) for exchange in self.exchanges if not self.is_fine(exchange)]
        faults += self.complaints
        assert not faults, "the clients were not answered as they expect:\n" + "\n".join(faults)

    def answered(self, method: str, endpoint: str) -> list[Exchange]:
        """The exchanges with success of one endpoint (a regular expression of the spec's path), in order."""
        return [
            exchange
            for exchange in self.exchanges
            if exchange.method == method
            and exchange.status is not None
            and exchange.status < 300
            and re.fullmatch(endpoint, exchange.endpoint)
        ]


@dataclass(slots=True)
class Record:
    """The traffic of a whole test run."""

    traffic_file: Path | None
    endpoints_file: Path | None
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    @classmethod
    def from_environment(cls) -> Record:
        def path(name: str) -> Path | None:
            return Path(os.environ[name]) if os.environ.get(name) else None

        record = cls(path(TRAFFIC_FILE), path(ENDPOINTS_FILE))
        if record.traffic_file:
            record.traffic_file.write_text("")
        return record

    def keep(self, traffic: Traffic) -> None:
        for exchange in traffic.exchanges:
            sdk = exchange.client.partition(":")[0]
            self.counts[f"{exchange.method} {exchange.endpoint}", sdk, str(exchange.status or "none")] += 1
        if self.traffic_file:
            with self.traffic_file.open("a", encoding="utf-8") as lines:
                for exchange in traffic.exchanges:
                    if exchange.status is not None:
                        lines.write(json.dumps({"api": "client-server", **asdict(exchange)}) + "\n")

    def list_endpoints(self) -> list[str]:
        """One line for each endpoint: who called it, and how often it answered with which status."""
        lines = []
        for endpoint in sorted({key[0] for key in self.counts}, key=lambda name: name.split(" ")[::-1]):
            calls = sorted(
                (sdk, status, n) for (name, sdk, status), n in self.counts.items() if name == endpoint
            )
            lines.append(f"{endpoint}  " + ", ".join(f"{sdk} {status}×{n}" for sdk, status, n in calls))
        return lines

    def close(self) -> None:
        if self.endpoints_file:
            self.endpoints_file.write_text("\n".join(self.list_endpoints()) + "\n", encoding="utf-8")
