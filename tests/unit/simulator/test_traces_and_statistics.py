import numpy as np
import pytest

from autoscaler.simulator.physics import Physics
from autoscaler.simulator.statistics import difference, ratio
from autoscaler.simulator.traces import arrival_times, load
from kserve_has.errors import LatencyModelError, TraceError
from kserve_has.loadgen.trace import Trace


def written(tmp_path, *rows):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(("t_s,rps", *rows)) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(("0,1", "1,-2"), "line 3: rps must be a finite number >= 0", id="negative"),
        pytest.param(("0,1", "2,1", "1,1"), "line 4: t_s 1 is not after 2", id="unordered"),
        pytest.param(("0,1", "1,1", "2,1", "9,1"), "line 5: gap of 7 s", id="gap"),
        pytest.param(("0,1", "1,many"), "line 3: rps is not a number: 'many'", id="text"),
        pytest.param(("0,nan",), "line 2: rps must be a finite number", id="not a number"),
        pytest.param(("0,1,2",), "line 2: expected two columns", id="columns"),
        pytest.param(("0,0",), "no step with a rate above 0", id="nothing"),
    ],
)
def test_a_bad_trace_is_refused_with_line_and_reason(tmp_path, rows, message):
    with pytest.raises(TraceError, match=message):
        load(written(tmp_path, *rows))


def test_a_factor_scales_the_rates_and_names_the_trace(tmp_path):
    name, trace = load(written(tmp_path, "0,2", "1,4") + "@2.5")
    assert ("t@2.5", (5.0, 10.0)) == (name, trace.rates_rps)


@pytest.mark.parametrize("factor", ["0", "-1", "many", "inf", "nan"])
def test_an_impossible_factor_is_refused(tmp_path, factor):
    with pytest.raises(TraceError, match="factor after @"):
        load(written(tmp_path, "0,2") + f"@{factor}")


def test_arrivals_follow_the_rate_and_the_seed():
    trace = Trace((0.0, 100.0), (50.0, 5.0), 200.0)
    times = arrival_times(trace, 1, 200.0)
    assert times == sorted(times) == arrival_times(trace, 1, 200.0)
    assert times != arrival_times(trace, 2, 200.0)
    early = sum(t < 100.0 for t in times)
    assert (early, len(times) - early) == pytest.approx((5000, 500), rel=0.15)
    assert max(arrival_times(trace, 1, 30.0)) < 30.0


def test_the_interval_holds_the_truth_and_pairs_matter():
    rng = np.random.default_rng(1)
    load_ = np.exp(rng.normal(0, 1, 200))  # the same hard and easy cases on both sides
    found = ratio(list(load_), list(load_ * 2.0 * np.exp(rng.normal(0, 0.02, 200))))
    assert found.low < 2.0 < found.high
    assert found.high - found.low < 0.02
    more = difference(list(load_), list(load_ + 0.5))
    assert (more.value, more.low, more.high) == pytest.approx((0.5, 0.5, 0.5))
    assert str(more) == "0.5 [0.5, 0.5]"


@pytest.mark.parametrize("sides", [([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([1.0], [-1.0])])
def test_an_impossible_ratio_is_refused(sides):
    with pytest.raises(ValueError, match="positive values on both sides"):
        ratio(*sides)


def test_a_difference_needs_pairs():
    with pytest.raises(ValueError, match="on both sides"):
        difference([1.0], [])


def test_physics_is_the_measurement_at_measured_points_and_bent_between_them():
    one, two = (Physics("resnet50", 1, seed, 0.04) for seed in (1, 2))
    assert one.law(8) == two.law(8)
    assert one.median_ms == two.median_ms == pytest.approx(3.04, abs=0.01)
    assert one.law(12) != two.law(12)
    assert Physics("resnet50", 1, 1, 0.0).law(4)[0] == pytest.approx(2 * one.law(8)[0])


def test_noise_stays_within_what_was_measured():
    draws = Physics("resnet50", 1, 1, 0.04).noise()
    assert max(map(abs, draws)) < 1.645


def test_an_unmeasured_model_is_refused_with_those_that_were():
    with pytest.raises(LatencyModelError, match=r"measured models are .*resnet50"):
        Physics("resnet51", 1, 1, 0.04)
