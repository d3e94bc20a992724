import numpy as np
import pytest

from kserve_has.rapp.kernels import CLASSES, Kernels
from kserve_has.rapp.operators import CONSTANTS, Workload, learn_constants, log_ms, start

WAY = "bf16-graph"
TRUE = start(WAY)


def network(*rows, calls=(10.0, 10.0, 0.0)):
    """Return kernels from (kind, rows, columns, depth, groups, elements, count)."""
    table = []
    for kind, height, width, depth, groups, elements, count in rows:
        flops = 2.0 * height * width * depth * groups
        number = CLASSES.index(kind)
        table.append((number, flops, elements, 0.0, height, width, depth, groups, 1.0, count))
    return Kernels(*np.array(table, dtype=float).T, np.array(calls))


HEAVY = network(
    ("convolution", 3136, 256, 2304, 1, 1.6e6, 4), ("elementwise", 1, 1, 1, 1, 1.6e6, 4)
)
SMALL = network(("convolution", 49, 32, 288, 1, 3e3, 30), ("elementwise", 1, 1, 1, 1, 3e3, 30))


def log_at(kernels, batch, sm, constants=TRUE):
    batch, sm = np.atleast_1d(batch).astype(float), np.atleast_1d(sm).astype(float)
    return log_ms(constants, Workload.of(kernels, batch, sm, 2.0))


def ms(kernels, batch, sm, constants=TRUE):
    return float(np.exp(log_at(kernels, batch, sm, constants))[0])


def changed(name, factor):
    moved = TRUE.copy()
    moved[list(CONSTANTS).index(name)] += np.log(factor)
    return moved


def test_heavy_work_is_divided_among_sms_and_grows_with_the_batch():
    assert pytest.approx(ms(HEAVY, 16, 16) / 4, rel=0.15) == ms(HEAVY, 16, 64)
    assert pytest.approx(4 * ms(HEAVY, 8, 16), rel=0.15) == ms(HEAVY, 32, 16)


def test_small_kernels_gain_nothing_from_more_sms():
    assert ms(SMALL, 1, 132) > 0.8 * ms(SMALL, 1, 32)


def test_more_sms_are_never_slower():
    times = [ms(HEAVY, 1, s) for s in range(8, 133)]
    assert sorted(times, reverse=True) == times


def test_a_tiling_made_for_the_whole_gpu_is_kept_on_a_piece():
    # 64 tiles of 128 x 128 on 8 SMs would be eight full waves of the best rate
    few = network(("linear", 1024, 1024, 512, 1, 0.0, 1))
    best = 8 * 2 * 128**2 * (512 + 64) / (6.5e9)
    assert ms(few, 1, 8) > 1.4 * best
    large = network(("linear", 65536, 1024, 512, 1, 0.0, 1))
    assert ms(large, 1, 8) < 1.2 * 64 * best


def test_what_the_batch_does_not_enlarge_costs_the_same_at_any_batch():
    alone = network(("elementwise", 1, 1, 1, 1, 1e8, 1))
    fixed = Kernels(**{**vars(alone), "batched": np.zeros(1)})
    assert ms(fixed, 1, 32) == ms(fixed, 16, 32)
    assert ms(alone, 16, 32) > 10 * ms(alone, 1, 32)


def test_large_filters_are_cheaper_a_tap_than_small_ones():
    three, seven = (
        network(("depthwise", 3136, 1, float(taps), 96, 0.0, 1), calls=(0.0, 0.0, 0.0))
        for taps in (9, 49)
    )
    assert 2.0 < ms(seven, 32, 8) / ms(three, 32, 8) < 49 / 9


@pytest.mark.parametrize(
    ("constant", "kernels"),
    [
        ("traffic_transposed", network(("transposed", 1, 1, 1, 1, 1e8, 1))),
        ("traffic_rowwise", network(("rowwise", 1, 1, 1, 1, 1e8, 1))),
        ("traffic_pool", network(("pool", 1, 1, 1, 1, 1e8, 1))),
        ("traffic_matrix", network(("linear", 1e6, 64, 8, 1, 1e8, 1))),
        ("traffic_conv", network(("pointwise", 1e6, 64, 8, 1, 1e8, 1))),
        ("kernel_matrix", network(("matmul", 8, 8, 8, 1, 0.0, 1000))),
        ("kernel_pointwise", network(("pointwise", 8, 8, 8, 1, 0.0, 1000))),
        ("kernel_conv", network(("stem", 8, 8, 8, 1, 0.0, 1000))),
        ("kernel", network(("pool", 1, 1, 1, 1, 0.0, 1000))),
    ],
)
def test_each_kind_has_its_own_constant(constant, kernels):
    assert ms(kernels, 1, 32, changed(constant, 2.0)) > 1.3 * ms(kernels, 1, 32)


def test_grouped_convolutions_can_be_slower_below_a_batch():
    grouped = network(("grouped", 3136, 16, 144, 8, 0.0, 1), calls=(0.0, 0.0, 0.0))
    slow = changed("grouped_slower", 3.0)
    assert ms(grouped, 1, 8, slow) > 2.5 * ms(grouped, 1, 8)
    assert ms(grouped, 32, 8, slow) < 1.05 * ms(grouped, 32, 8)
    assert ms(HEAVY, 1, 8, slow) == ms(HEAVY, 1, 8)


def test_another_gpus_libraries_choose_tilings_for_its_own_sms():
    # 160 large tiles are two waves of 80 SMs; on 132 SMs smaller ones are better
    work = network(("linear", 20480, 128, 512, 1, 0.0, 1))
    at = np.array([1.0]), np.array([8.0])
    times = [log_ms(TRUE, Workload.of(work, *at, 2.0, whole))[0] for whole in (80, 132)]
    assert times[0] != times[1]


def test_the_hosts_calls_bound_the_sum():
    busy = network(("elementwise", 1, 1, 1, 1, 0.0, 1), calls=(0.0, 0.0, 1e4))
    assert pytest.approx(1e4 * 0.00005, rel=0.01) == ms(busy, 1, 132)


def test_constants_are_found_again_from_what_they_made():
    batch, sm = np.array([1.0, 4, 16, 1, 4, 16]), np.array([8.0, 8, 8, 132, 132, 132])
    moved = changed("convolution", 0.5)
    moved[list(CONSTANTS).index("kernel_conv")] += 0.5
    works = [Workload.of(k, batch, sm, 2.0) for k in (HEAVY, SMALL)]
    found = learn_constants([(w, log_ms(moved, w), 1.0) for w in works], TRUE, 60.0)
    for work in works:
        assert np.abs(log_ms(found, work) - log_ms(moved, work)).mean() < 0.06
