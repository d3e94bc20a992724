"""A thousand services: what a look at their counters takes from the loop that decides."""

import json
import threading
import time

from autoscaler.controller import feedback as module
from autoscaler.controller.feedback import Feedback
from autoscaler.controller.meters import ACTIVE, ANSWERED, BEGUN, GPU_TIME
from autoscaler.controller.metrics import Metrics
from autoscaler.controller.observe import Objects, observe
from autoscaler.policy.observation import Traffic
from kserve_has import contract
from kserve_has.config.controller import ControllerSettings
from kserve_has.rapp.profiled import from_profiles
from kserve_has.rapp.profiles import Profile, ProfilePoint

SETTINGS = ControllerSettings(observe_relearn_s=0)
SERVICES, GPUS = 1000, 250
CARD = {"gpu": "NVIDIA H200", "sm_count": 132, "driver": "0"}
POINTS = tuple(ProfilePoint(1, sm, 100, 9, ms, ms, ms) for sm, ms in ((8, 8.0), (132, 2.0)))


def counter(name, rate, now, **labels):
    times = [now - back for back in range(4, -1, -1)]
    return {
        "metric": {"__name__": name, **labels},
        "values": [[at, str(rate * at)] for at in times],
    }


def rows(now):
    found = []
    for i in range(SERVICES):
        endpoint = {"envoy_cluster_name": f"default/s{i}", "instance": "e1"}
        endpoint["envoy_endpoint_address"] = f"10.0.{i // 250}.{i % 250}:8080"
        found.append(counter(GPU_TIME, 0.3, now, namespace="default", pod=f"p{i}"))
        rates = ((ANSWERED, 50.0), (BEGUN, 50.0), (ACTIVE, 0.0))
        found += [counter(name, rate, now, **endpoint) for name, rate in rates]
    return found


def world(make):
    gpu = {"product": "NVIDIA H200", "sm_count": 132, "sm_group_size": 8, "memory_bytes": 10**11}
    announced = json.dumps([{**gpu, "uuid": f"GPU-{g}"} for g in range(GPUS)])
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    node = {"metadata": {"name": "n", "annotations": {contract.NODE_GPUS: announced}}}
    pods = []
    for i in range(SERVICES):
        piece = make.piece(0b11 << 4 * (i // GPUS), 50)
        notes = make.notes(piece, 3, json.dumps({"epoch": 3}))
        notes[contract.GPU_UUID] = f"GPU-{i % GPUS}"
        pod = make.pod(f"p{i}", notes, ready=True, service=f"s{i}")
        pod["status"]["podIP"] = f"10.0.{i // 250}.{i % 250}"
        pods.append(pod)
    services = [f"s{i}" for i in range(SERVICES)]
    objects = Objects(
        [make.isvc(name) for name in services],
        [make.deployment(name) for name in services],
        pods,
        [{**node, "status": ready}],
    )
    return observe(objects, lambda *_: Traffic(0.0), SETTINGS, 0.0, 1767225660.0)


class Counters:
    def __init__(self, answer):
        self.answer = answer

    async def rows(self, query):
        return self.answer


async def test_a_look_leaves_the_loop_to_the_ticks(make, monkeypatch):
    """By the processor time of the loop's own thread, which no other program adds to."""
    threads, whole = [], module.meters_of

    def watched(*given):
        threads.append(threading.get_ident())
        return whole(*given)

    monkeypatch.setattr(module, "meters_of", watched)
    model = from_profiles([Profile("resnet50", "bf16", "graph", CARD, POINTS)])
    metrics, seen = Metrics(), world(make)
    learning = Feedback(model, Counters(rows(100.0)), metrics.observations, SETTINGS)
    learning.step(0.0)
    began = time.thread_time(), time.process_time()
    await learning.look(seen, 100.0)
    of_loop, of_all = time.thread_time() - began[0], time.process_time() - began[1]
    settling = {"verdict": "settling"}
    assert (
        metrics.registry.get_sample_value("kserve_has_observation_looks_total", settling)
        == SERVICES
    )
    assert threading.get_ident() not in threads
    assert of_loop < 0.2 * of_all
