import ctypes

import pytest

from kserve_has.errors import LatencyModelError
from kserve_has.modelserver.network import EmulatedNetwork, payload_label
from kserve_has.modelserver.sequence import sequence


class RecordingDriver:
    """Remembers the calls; handles are numbers."""

    def __init__(self):
        self.calls = []
        self.images = []

    def primary_context(self):
        return ctypes.c_void_p(1)

    def make_current(self, context):
        self.calls.append(("current", context.value))

    def allocate(self, size_bytes):
        self.calls.append(("allocate", size_bytes))
        return ctypes.c_uint64(size_bytes)

    def stream(self):
        return ctypes.c_void_p(7)

    def load(self, image):
        self.images.append(image)
        return ctypes.c_void_p(2)

    def functions(self, _module, names):
        return list(names)

    def copy_in(self, _target, _source, size_bytes, _stream):
        self.calls.append(("in", size_bytes))

    def copy_out(self, _target, _source, _size_bytes, _stream):
        self.calls.append(("out",))

    def launch(self, function, blocks, _stream):
        self.calls.append(("launch", function, blocks))

    def synchronize(self, _stream):
        self.calls.append(("synchronize",))


@pytest.fixture
def driver():
    return RecordingDriver()


def test_a_request_is_one_input_copy_the_launches_in_order_and_a_synchronise(driver):
    network = EmulatedNetwork("resnet50", batch=2, driver=driver)
    driver.calls.clear()
    network.label(["a", "b"])
    launches = [("launch", k.kernel, k.max_sm) for k in sequence("resnet50", 2)]
    assert driver.calls == [("in", 2 * 602112), *launches, ("out",), ("synchronize",)]


def test_the_weights_take_as_much_memory_as_the_real_ones(driver):
    EmulatedNetwork("resnet50", driver=driver)
    assert ("allocate", 102_400_000) in driver.calls


def test_the_usual_batch_is_ready_before_the_first_request_and_loaded_once(driver):
    network = EmulatedNetwork("resnet50", batch=4, driver=driver)
    network.label([1, 2, 3, 4])
    assert len(driver.images) == 1
    network.label([1])
    network.label([2])
    assert len(driver.images) == 2


def test_a_label_depends_on_the_payload_alone(driver):
    network = EmulatedNetwork("resnet50", driver=driver)
    assert (
        network.label([{"seed": 1}]) == network.label([{"seed": 1}]) == [payload_label({"seed": 1})]
    )
    assert 0 <= payload_label("x") < 1000


def test_an_unknown_model_touches_no_gpu(driver):
    with pytest.raises(LatencyModelError):
        EmulatedNetwork("gpt7", driver=driver)
    assert driver.calls == []
