import pytest

from kserve_has.modelserver.calibrate import Profiled, assign, fit_parallelism, merge, short_name


def test_merging_keeps_the_total_time_and_the_order():
    kernels = [Profiled(f"k{i}", 1.0 + i % 3, 10.0 * i) for i in range(100)]
    merged = merge(kernels, at_most=10)
    assert len(merged) <= 10
    assert sum(k.duration_us for k in merged) == pytest.approx(sum(k.duration_us for k in kernels))
    assert [k.blocks for k in merged] == sorted(k.blocks for k in merged)


def test_a_curve_of_two_known_kinds_of_kernels_is_taken_apart():
    curve = {s: 2.0 + 1.0 * 132 / s for s in (8, 16, 24, 32, 48, 64, 96, 132)}
    shares = fit_parallelism(curve)
    assert shares[8] == pytest.approx(2.0, rel=0.05)
    assert shares[132] == pytest.approx(1.0, rel=0.05)


def test_narrow_launches_get_the_narrow_shares_and_one_is_cut_to_meet_them():
    launches = [Profiled("wide", 500.0, 9000.0), Profiled("narrow", 500.0, 10.0)]
    pieces = assign(launches, {8: 0.25, 132: 0.75})
    assert pieces == [
        ["wide", 500.0 * 132, 132],
        ["narrow", 250.0 * 8, 8],
        ["narrow", 250.0 * 132, 132],
    ]


def test_a_kernel_name_becomes_one_word():
    assert short_name("void cudnn::bn_fw_inf<float, true>") == "bn_fw_inf"
    assert short_name("void at::native::(anonymous namespace)::max_pool") == "max_pool"
