import sys
import threading

import pytest

sys.argv = sys.argv[:1]  # KServe reads the command line when it is imported

import kserve
from kserve.errors import InvalidInput

from kserve_has.modelserver.__main__ import build_parser
from kserve_has.modelserver.server import LabellingModel


class ThreadNamingNetwork:
    def __init__(self):
        self.threads = set()

    def label(self, payloads):
        self.threads.add(threading.current_thread().name)
        return [len(str(payload)) for payload in payloads]


@pytest.fixture
def network():
    return ThreadNamingNetwork()


@pytest.fixture
def model(network):
    return LabellingModel("resnet50", network, concurrency=1)


async def test_v1_gives_a_prediction_for_each_instance(model):
    assert await model.predict({"instances": ["a", "bb"]}) == {"predictions": [1, 2]}


async def test_v2_gives_labels_along_the_leading_dimension(model):
    tensor = kserve.InferInput("input", [2, 1], "INT32", data=[5, 6])
    answer = await model.predict(kserve.InferRequest("resnet50", [tensor]))
    assert answer.outputs[0].shape == [2]
    assert answer.outputs[0].datatype == "INT64"


async def test_the_network_never_runs_on_the_event_loop_thread(model, network):
    await model.predict({"instances": [1]})
    assert threading.current_thread().name not in network.threads


@pytest.mark.parametrize("payload", [{}, {"instances": []}, {"instances": 3}])
async def test_a_request_without_instances_is_refused(model, payload):
    with pytest.raises(InvalidInput, match="at least one instance"):
        await model.predict(payload)


async def test_a_body_that_kserve_did_not_take_for_json_is_refused(model):
    with pytest.raises(InvalidInput, match="Content-Type: application/json"):
        await model.predict(b'{"instances": [[1]]}')


def test_the_command_line_serves_under_the_models_own_name_on_kserves_port():
    args = build_parser().parse_args(["--model", "resnet50"])
    assert (args.name, args.http_port, args.device) == (None, 8080, "auto")
