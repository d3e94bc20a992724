import itertools

import pytest

from kserve_has.errors import LatencyModelError
from kserve_has.latency.duty import alone_mean_ms, elapsed_upper_ms, stream_mean_ms
from kserve_has.latency.table import load_table

H200 = "NVIDIA H200"
TABLE = load_table()


def test_a_measured_point_is_returned_as_measured():
    assert TABLE.gpu_ms("resnet50", H200, 8, 16) == pytest.approx(22.9445)


@pytest.mark.parametrize("model", ["resnet50", "bert_base_384", "vgg16"])
def test_more_sms_and_more_quota_are_never_slower(model):
    for sm, wider in itertools.pairwise(range(4, 133, 4)):
        assert TABLE.gpu_ms(model, H200, 8, wider) <= TABLE.gpu_ms(model, H200, 8, sm)
    for quota in range(1, 100):
        low, high = (TABLE.predict(model, H200, 8, 32, q) for q in (quota, quota + 1))
        assert high.mean_ms <= low.mean_ms


def test_the_upper_bound_is_never_below_the_mean():
    for quota in range(1, 101):
        latency = TABLE.predict("bert_base_384", H200, 8, 64, quota)
        assert latency.upper_ms >= latency.mean_ms


def test_a_quota_does_not_pause_captured_graphs():
    graphs = load_table(dtype="bf16", mode="graph")
    for quota in (5, 30, 100):
        answer = graphs.predict("resnet50", H200, 32, 16, quota)
        assert answer.mean_ms == graphs.gpu_ms("resnet50", H200, 32, 16)
    assert TABLE.predict("resnet50", H200, 32, 16, 5).mean_ms > answer.mean_ms


def test_an_unknown_model_is_answered_with_what_is_known():
    with pytest.raises(LatencyModelError, match=r"known: .*resnet50"):
        TABLE.gpu_ms("resnet51", H200, 8, 16)


@pytest.mark.parametrize(("batch", "sm", "quota"), [(0, 8, 50), (1, 0, 50), (1, 8, 0), (1, 8, 101)])
def test_an_impossible_piece_is_refused(batch, sm, quota):
    with pytest.raises(LatencyModelError):
        TABLE.predict("resnet50", H200, batch, sm, quota)


def test_a_job_of_one_budget_pauses_once_at_most_and_a_full_quota_never():
    assert elapsed_upper_ms(20, 40, 50) == pytest.approx(50)
    assert stream_mean_ms(20, 40) == pytest.approx(50)
    assert alone_mean_ms(20, 40, 50) == 20
    assert elapsed_upper_ms(20, 100, 50) == 20


def test_a_part_is_one_object_with_the_answers_of_the_whole():
    part = TABLE.part("resnet50", H200)
    assert part is TABLE.part("resnet50", H200)
    assert part.predict(1, 40, 60) == TABLE.predict("resnet50", H200, 1, 40, 60)
    with pytest.raises(LatencyModelError, match=r"known: .*resnet50"):
        TABLE.part("resnet51", H200)
