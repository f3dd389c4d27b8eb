"""Percentiles, histograms and medians."""

import math

import pytest
from bench.figures import Fact, Result, bucket_percentile, histogram, median_result, percentile
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.5, 7.0),
        ([7.0], 0.99, 7.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([4.0, 3.0, 1.0, 2.0], 0.5, 2.0),
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
        ([float(n) for n in range(1, 101)], 1.0, 100.0),
        ([float(n) for n in range(1, 101)], 0.0, 1.0),
        ([1.0] * 99 + [50.0], 0.99, 1.0),
        ([1.0] * 98 + [50.0, 60.0], 0.99, 50.0),
    ],
)
def test_a_percentile_is_the_value_of_the_nearest_rank(
    values: list[float], share: float, expected: float
) -> None:
    assert percentile(values, share) == expected


def test_no_values_have_no_percentile() -> None:
    assert math.isnan(percentile([], 0.5))


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_at_least_the_share_lies_at_or_below_a_percentile_and_less_below_it(
    values: list[float], share: float
) -> None:
    found = percentile(values, share)
    at_most = sum(value <= found for value in values)
    below = sum(value < found for value in values)
    assert at_most >= share * len(values) - 1e-9
    assert below < share * len(values) or below == 0


METRICS = """\
# HELP lag_seconds How late
# TYPE lag_seconds histogram
lag_seconds_bucket{le="0.001"} 90.0
lag_seconds_bucket{le="0.01"} 100.0
lag_seconds_bucket{le="+Inf"} 100.0
lag_seconds_count 100.0
lag_seconds_sum 0.2
other_seconds_bucket{le="0.001"} 5.0
"""


def test_a_histogram_is_read_from_prometheus_text() -> None:
    assert histogram(METRICS, "lag_seconds") == {0.001: 90.0, 0.01: 100.0, math.inf: 100.0}


def test_a_histogram_is_summed_over_its_other_labels() -> None:
    text = 'x_bucket{process="a",le="1.0"} 2\nx_bucket{process="b",le="1.0"} 3\n'
    assert histogram(text, "x") == {1.0: 5.0}


def test_a_percentile_of_buckets_is_interpolated_in_its_bucket() -> None:
    buckets = histogram(METRICS, "lag_seconds")
    assert bucket_percentile(buckets, 0.45) == pytest.approx(0.0005)
    assert bucket_percentile(buckets, 0.99) == pytest.approx(0.001 + 0.009 * 0.9)


def test_what_lies_beyond_the_last_bound_is_given_as_that_bound() -> None:
    assert bucket_percentile({0.1: 1.0, math.inf: 10.0}, 0.99) == 0.1


def test_empty_buckets_have_no_percentile() -> None:
    assert math.isnan(bucket_percentile({}, 0.99))
    assert math.isnan(bucket_percentile({0.1: 0.0, math.inf: 0.0}, 0.99))


def _row(seconds: float, cpu: float, memory: float, wrong: str = "") -> Result:
    facts = (Fact("memory", memory, "MiB"),)
    return Result("send", 100, seconds, cpu, cpu, cpu, 0.0, cpu, facts=facts, wrong=wrong)


def test_repeats_are_shown_by_their_medians_each_figure_for_itself() -> None:
    found = median_result([_row(1.0, 9.0, 5.0), _row(2.0, 1.0, 6.0), _row(4.0, 2.0, 70.0)])
    assert (found.rate, found.p50_ms, found.cpu_ms, found.facts[0].value) == (50.0, 2.0, 2.0, 6.0)


def test_one_wrong_repeat_makes_the_whole_row_wrong() -> None:
    assert (
        median_result([_row(1.0, 1.0, 1.0), _row(1.0, 1.0, 1.0, wrong="one is missing")]).wrong
        == "one is missing"
    )


def test_the_cpu_of_a_row_includes_the_database() -> None:
    row = Result("send", 10, 1.0, server_cpu_ms=2.0, database_cpu_ms=0.5)
    assert row.cpu_ms == 2.5
