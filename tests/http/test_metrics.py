"""Figures: what is counted, and how it is written."""

import asyncio

from prometheus_client.parser import text_string_to_metric_families
from tests.http.place import Place
from tests.http.raw import RawConnection, request

from ranvier.http.metrics import Family, Histogram, Sample, families_of, render


def _values(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def test_requests_are_counted_by_endpoint_and_status(place: Place):
    async with await RawConnection.open(place.address) as raw:
        for path in ("/open", "/open", "/open?n=x", "/nowhere"):
            await raw.send(request("GET", path))
            await raw.answer()
    await asyncio.sleep(0.01)
    called = [(r.endpoint.method, r.endpoint.name, r.traffic) for r in place.routes]
    values = _values(
        render(families_of([*called, ("", "unrecognized", place.strays)]), {"server_name": "test"})
    )

    def value(name: str, **labels: str) -> float:
        return values[name, tuple(sorted({**labels, "server_name": "test"}.items()))]

    assert value("synapse_http_server_requests_received_total", method="GET", servlet="show") == 3
    assert value("synapse_http_server_in_flight_requests_count", method="GET", servlet="show") == 0
    assert value("synapse_http_server_responses_total", method="GET", code="400") == 1
    assert value("synapse_http_server_responses_total", method="", code="404") == 1
    times = {"method": "GET", "servlet": "show", "tag": "", "code": "200"}
    assert value("synapse_http_server_response_time_seconds_count", **times) == 2
    assert value("synapse_http_server_response_time_seconds_bucket", **times, le="+Inf") == 2
    assert value("synapse_http_server_response_time_seconds_sum", **times) > 0
    assert not [key for key in values if ("servlet", "who") in key[1]]


async def test_a_client_that_hangs_up_is_counted_and_no_longer_in_flight(place: Place):
    raw = await RawConnection.open(place.address)
    await raw.send(b"PUT /json HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n")
    await asyncio.sleep(0.05)
    assert place.traffic("echo").in_flight == 1
    raw.close()
    await asyncio.sleep(0.05)
    assert place.traffic("echo").in_flight == 0
    assert list(place.traffic("echo").seconds) == [499]


def test_buckets_of_a_histogram_are_cumulative():
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7):
        histogram.observe(value)
    text = render([Family("f", "histogram", "h", histogram.samples({}))], {})
    values = _values(text)
    assert values["f_bucket", (("le", "0.1"),)] == 2
    assert values["f_bucket", (("le", "1.0"),)] == 3
    assert values["f_bucket", (("le", "+Inf"),)] == values["f_count", ()] == 4


def test_values_of_labels_are_escaped():
    text = render([Family("f", "gauge", "h", [Sample(1, {"a": 'x"y\\z\n'})])], {})
    assert _values(text) == {("f", (("a", 'x"y\\z\n'),)): 1}
