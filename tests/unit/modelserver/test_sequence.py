import pytest

from kserve_has.errors import LatencyModelError
from kserve_has.modelserver.sequence import (
    alone_ms,
    known_models,
    module_image,
    packaged,
    sequence,
)

MEASURED = [
    (model, int(batch), int(sm), ms)
    for model in ("resnet50", "bert_base_384")
    for batch, entry in packaged()[model]["batches"].items()
    for sm, ms in entry["measured_ms"].items()
]


@pytest.mark.parametrize(("model", "batch", "sm", "measured_ms"), MEASURED)
def test_a_sequence_takes_as_long_as_the_real_network_took_on_every_partition(
    model, batch, sm, measured_ms
):
    assert alone_ms(sequence(model, batch), sm) == pytest.approx(measured_ms, rel=0.10)


def test_every_packaged_model_tracks_its_noisier_curve_within_a_fifth():
    for model in known_models():
        for batch, entry in packaged()[model]["batches"].items():
            for sm, ms in entry["measured_ms"].items():
                assert alone_ms(sequence(model, int(batch)), int(sm)) == pytest.approx(ms, rel=0.2)


@pytest.mark.parametrize("model", known_models())
@pytest.mark.parametrize("batch", [1, 3, 8, 32, 64])
def test_an_inference_costs_at_most_forty_launches(model, batch):
    assert 10 <= len(sequence(model, batch)) <= 40


def test_a_batch_between_two_measured_ones_costs_something_between():
    times = [alone_ms(sequence("resnet50", batch), 16) for batch in (4, 5, 6, 7, 8)]
    assert times == sorted(times)
    assert times[1] > times[0] * 1.05


def test_beyond_the_largest_batch_time_grows_with_the_batch():
    doubled = alone_ms(sequence("bert_base_384", 64), 132)
    assert doubled == pytest.approx(2 * alone_ms(sequence("bert_base_384", 32), 132), rel=0.01)


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(LatencyModelError, match="known: bert_base_384"):
        sequence("gpt7", 1)


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(LatencyModelError, match="at least 1"):
        sequence("resnet50", 0)


def test_the_module_image_names_each_kernel_once_with_its_work():
    launches = sequence("resnet50", 2)
    image = module_image(launches)
    assert image.endswith(b"\0")
    lines = image.rstrip(b"\0").decode().splitlines()
    assert lines[0] == "HASEMU 1"
    assert len({line.split()[1] for line in lines[1:]}) == len(launches)
    first = launches[0]
    assert lines[1] == (
        f"kernel {first.kernel} work_sm_ns={first.work_sm_ns} floor_ns=2000 max_sm={first.max_sm}"
    )
