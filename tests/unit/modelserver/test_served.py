"""KServe's server as a process: protocols, probes, and how it leaves."""

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

# The network takes "sleep" seconds, so that requests can be under way when the signal comes.
SERVER = """
import sys, time
port = int(sys.argv.pop())
class Network:
    def label(self, payloads):
        for payload in payloads:
            if isinstance(payload, dict):
                time.sleep(payload.get("sleep", 0))
        return [7] * len(payloads)
from kserve_has.modelserver.server import BoundModelServer, LabellingModel
BoundModelServer("127.0.0.1", port).start([LabellingModel("net", Network(), 2)])
"""


class Served:
    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, None

    def ready(self):
        try:
            return self.call("/v2/models/net/ready")[0] == 200
        except OSError:
            return False

    def wait(self, wanted, seconds=60):
        deadline = time.monotonic() + seconds
        while self.ready() is not wanted:
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.02)


@pytest.fixture
def served(unused_tcp_port):
    server = Served(unused_tcp_port)
    server.wait(True)
    yield server
    if server.process.poll() is None:
        server.process.kill()
    server.process.wait()


def test_both_protocols_answer_a_batch(served):
    assert served.call("/v1/models/net:predict", {"instances": [1, 2, 3]}) == (
        200,
        {"predictions": [7, 7, 7]},
    )
    tensor = {"name": "x", "shape": [2, 1], "datatype": "INT32", "data": [1, 2]}
    status, answer = served.call("/v2/models/net/infer", {"inputs": [tensor]})
    assert status == 200
    assert answer["outputs"][0]["data"] == [7, 7]
    assert served.call("/v1/models/net:predict", {"instances": []})[0] == 400


def test_after_sigterm_it_is_not_ready_answers_on_and_finishes_what_is_under_way(served):
    answers = []

    def ask(seconds):
        body = {"instances": [{"sleep": seconds}]}
        answers.append(served.call("/v1/models/net:predict", body)[0])

    slow = threading.Thread(target=ask, args=(2.5,))
    slow.start()
    time.sleep(0.3)
    served.process.send_signal(signal.SIGTERM)
    served.wait(False, 5)
    ask(0)
    slow.join()
    assert answers == [200, 200]
    assert served.process.wait(10) == 0
