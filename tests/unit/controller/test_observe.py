import json
import math

import pytest

from autoscaler.controller.observe import Objects, gpus_of, observe, recovered_state
from autoscaler.policy.observation import ReplicaPhase, Traffic
from kserve_has import contract
from kserve_has.config.controller import ControllerSettings
from kserve_has.slo import Slo

WALL = 1767225660.0  # 2026-01-01T00:01:00Z
NODE_GPU = {
    "uuid": "GPU-a",
    "product": "NVIDIA H200",
    "sm_count": 132,
    "sm_group_size": 8,
    "memory_bytes": 141 * 10**9,
    "backend": "A",
    "healthy": True,
}


def node(*gpus, ready=True, **spec):
    notes = {contract.NODE_GPUS: json.dumps(gpus)}
    conditions = [{"type": "Ready", "status": str(ready)}]
    metadata = {"name": "gpu-node-0", "annotations": notes}
    return {"metadata": metadata, "spec": spec, "status": {"conditions": conditions}}


def seen(isvcs=(), deployments=(), pods=(), nodes=None, traffic=None):
    nodes = [node(NODE_GPU)] if nodes is None else nodes
    objects = Objects(list(isvcs), list(deployments), list(pods), nodes)
    traffic = traffic or (lambda name, slo: Traffic(sample_age_s=math.inf))
    return observe(objects, traffic, ControllerSettings(), 12.5, WALL)


def only(make, **annotations):
    world = seen([make.isvc(**annotations)], [make.deployment()])
    return world.observation.services[0]


def test_a_service_carries_what_its_annotations_and_its_predictor_say(make):
    service = only(
        make,
        **{
            contract.OBJECTIVE_PERCENTILE: "p99",
            contract.BATCH: "8",
            contract.CONCURRENCY: "2",
            contract.GPU_MEMORY: "6Gi",
            contract.MIN_SM_PARTITION: "16",
            contract.MAX_SM_PARTITION: "64",
            contract.PRIORITY: "7",
            contract.ISOLATION: "exclusive",
            contract.BURST: "true",
        },
    )
    assert service.slo == Slo(100.0, 99)
    assert (service.name, service.served_model) == ("default/shop", "resnet50")
    assert (service.batch, service.concurrency, service.memory_bytes) == (8, 2, 6 * 2**30)
    assert (service.min_sm, service.max_sm, service.priority) == (16, 64, 7)
    assert (service.min_replicas, service.max_replicas, service.scale) == (1, 3, 1)
    assert service.exclusive
    assert service.bursts


def test_what_annotations_leave_open_gets_the_documented_defaults(make):
    service = only(make)
    assert service.slo == Slo(100.0, 95)
    assert (service.batch, service.concurrency, service.priority) == (1, 1, 100)
    assert (service.min_sm, service.max_sm) == (1, 132)
    assert service.memory_bytes == ControllerSettings().default_memory_bytes
    assert not service.exclusive
    assert not service.bursts


def test_a_service_is_left_alone_until_kserve_has_made_its_deployment(make):
    assert seen([make.isvc()], []).observation.services == ()


def test_a_service_with_an_unreadable_objective_is_left_alone_and_others_are_not(make):
    broken = make.isvc("broken", **{contract.OBJECTIVE_LATENCY: "soon"})
    world = seen([broken, make.isvc()], [make.deployment("broken"), make.deployment()])
    assert [s.name for s in world.observation.services] == ["default/shop"]


@pytest.mark.parametrize(
    ("options", "phase"),
    [
        ({"gated": True}, ReplicaPhase.GATED),
        ({}, ReplicaPhase.STARTING),
        ({"ready": True}, ReplicaPhase.READY),
        ({"ready": True, "leaving": True}, ReplicaPhase.TERMINATING),
    ],
)
def test_a_pod_is_in_the_phase_kubernetes_says(make, options, phase):
    pod = make.pod("p", make.notes(make.piece(), 1), **options)
    world = seen([make.isvc()], [make.deployment()], [pod])
    (replica,) = world.observation.services[0].replicas
    assert (replica.phase, replica.age_s) == (phase, 60.0)


def test_an_allocation_is_in_force_when_its_own_epoch_is_acknowledged(make):
    piece = make.piece()
    pods = [
        make.pod("new", make.notes(piece, 3, json.dumps({"epoch": 3}))),
        make.pod("old", make.notes(piece, 3, json.dumps({"epoch": 2}))),
        make.pod("silent", make.notes(piece, 3)),
        make.pod("garbled", make.notes(piece, 3, "{")),
    ]
    replicas = seen([make.isvc()], [make.deployment()], pods).observation.services[0].replicas
    assert {r.name: r.in_force for r in replicas} == {
        "new": True,
        "old": False,
        "silent": False,
        "garbled": False,
    }
    assert {r.allocation for r in replicas} == {piece}


def test_a_pod_that_has_ended_holds_nothing(make):
    ended = make.pod("p", make.notes(make.piece(), 1))
    ended["status"]["phase"] = "Succeeded"
    world = seen([make.isvc()], [make.deployment()], [ended])
    assert world.observation.services[0].replicas == ()


def test_pods_of_a_deleted_service_still_hold_their_gpu(make):
    left = make.pod("p", make.notes(make.piece(), 1), ready=True, service="gone")
    world = seen([make.isvc()], [make.deployment()], [left])
    (leaving,) = [s for s in world.observation.services if s.name not in world.targets]
    (replica,) = leaving.replicas
    assert (replica.phase, replica.allocation) == (ReplicaPhase.TERMINATING, make.piece())


def test_the_gpus_of_a_node_that_is_not_ready_or_cordoned_take_no_newcomers():
    assert [gpu.healthy for gpu in gpus_of([node(NODE_GPU)])] == [True]
    assert [gpu.healthy for gpu in gpus_of([node(NODE_GPU, ready=False)])] == [False]
    assert [gpu.healthy for gpu in gpus_of([node(NODE_GPU, unschedulable=True)])] == [False]
    assert [gpu.healthy for gpu in gpus_of([node({**NODE_GPU, "healthy": False})])] == [False]


def test_a_node_whose_gpus_cannot_be_read_hides_no_other_node():
    assert [gpu.uuid for gpu in gpus_of([node({"uuid": "x"}), node(NODE_GPU)])] == ["GPU-a"]


def test_traffic_is_asked_for_by_target_with_its_objective(make):
    asked = []

    def traffic(name, slo):
        asked.append((name, slo))
        return Traffic(sample_age_s=0.5)

    world = seen([make.isvc()], [make.deployment()], traffic=traffic)
    assert asked == [("default/shop", Slo(100.0, 95))]
    assert world.observation.services[0].traffic.sample_age_s == 0.5


def test_a_new_leader_charges_the_piece_that_is_still_in_force(make):
    former = json.dumps({"epoch": 1, "sm_groups": "0x00f0", "quota": 80, "at": "now"})
    wanted = make.piece(0x000F, 40)
    pod = make.pod("p", make.notes(wanted, 2, former), ready=True)
    state = recovered_state(seen([make.isvc()], [make.deployment()], [pod]))
    (drain,) = state.draining.values()
    assert list(state.draining) == [("default/shop", "p")]
    assert set(drain.pieces) == {make.piece(0x00F0, 80), wanted}


def test_a_new_leader_charges_nothing_twice_once_all_is_in_force(make):
    in_force = json.dumps({"epoch": 2, "sm_groups": "0x000f", "quota": 40, "at": "now"})
    pod = make.pod("p", make.notes(make.piece(), 2, in_force), ready=True)
    assert recovered_state(seen([make.isvc()], [make.deployment()], [pod])).draining == {}


def test_a_pod_that_slipped_past_the_webhook_is_not_taken_for_one_to_place(make):
    world = seen([make.isvc()], [make.deployment()], [make.pod("p"), make.pod("q", gated=True)])
    assert [r.name for r in world.observation.services[0].replicas] == ["q"]


def test_only_backend_a_enforces_partitions():
    def partitions(backend):
        (gpu,) = gpus_of([node({**NODE_GPU, "backend": backend})])
        return gpu.geometry.partitions

    assert {name: partitions(name) for name in "ABC"} == {"A": True, "B": False, "C": False}
