import pytest

from kserve_has.slo import Slo, parse_slo
from kserve_has.units import format_bytes, parse_bytes, parse_duration_ms, parse_whole


@pytest.mark.parametrize(
    ("text", "milliseconds"), [("80ms", 80), ("0.25s", 250), ("1m", 60_000), ("500us", 0.5)]
)
def test_durations_are_read_in_every_unit(text, milliseconds):
    assert parse_duration_ms(text) == pytest.approx(milliseconds)


@pytest.mark.parametrize("text", ["80", "ms", "-1ms", "0ms", "1h", ""])
def test_a_duration_without_a_positive_number_and_unit_is_refused(text):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration_ms(text)


def test_sizes_are_kubernetes_quantities():
    assert parse_bytes("4Gi") == 4 * 2**30
    assert parse_bytes("500M") == 500_000_000
    assert format_bytes(4 * 2**30) == "4.0 GiB"


@pytest.mark.parametrize("text", ["4.5Gi", "0", "-1", "4GB"])
def test_a_size_that_is_not_a_positive_quantity_is_refused(text):
    with pytest.raises(ValueError, match="is not a size"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["0", "101", "4.5", "x"])
def test_a_whole_number_outside_its_range_is_refused(text):
    with pytest.raises(ValueError, match=r"1\.\.100"):
        parse_whole(text, 1, 100)


def test_an_objective_is_a_bound_and_a_percentile():
    assert parse_slo("80ms", "p99") == Slo(80.0, 99)
    assert Slo(80.0, 95).allowed_violation_rate == pytest.approx(0.05)


@pytest.mark.parametrize("percentile", ["95", "p49", "p100", "p9x"])
def test_a_percentile_outside_p50_to_p99_is_refused(percentile):
    with pytest.raises(ValueError, match="is not a percentile"):
        parse_slo("80ms", percentile)
