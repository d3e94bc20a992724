import copy

import pytest

from autoscaler.controller import patches
from autoscaler.controller.fake_api import FakeApi
from autoscaler.controller.observe import allocation_of, epoch_of
from kserve_has import contract
from kserve_has.kube import ApiError
from kserve_has.kube.resources import PODS

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


async def patched(pod, patch, stored=None):
    api = FakeApi()
    stored = await api.create(PODS, pod if stored is None else stored, "default")
    for operation in patch:
        if operation["path"] == "/metadata/uid":
            operation["value"] = stored["metadata"]["uid"]
    return await api.patch(PODS, pod["metadata"]["name"], patch, "default", kind="json")


async def test_a_resize_changes_the_allocation_and_counts_the_epoch_up(make):
    pod = make.pod("p", make.notes(make.piece(), 4))
    wanted = make.piece(0x00FF, 70)
    after = (await patched(pod, patches.resize(pod, wanted, 41.26)))["metadata"]["annotations"]
    assert allocation_of(after) == wanted
    assert epoch_of(after) == 5
    assert after[contract.CAPACITY_RPS] == "41.3"


async def test_a_resize_that_only_corrects_the_capacity_leaves_the_epoch(make):
    pod = make.pod("p", make.notes(make.piece(), 4))
    after = (await patched(pod, patches.resize(pod, make.piece(), 9.0)))["metadata"]["annotations"]
    assert epoch_of(after) == 4
    assert after[contract.CAPACITY_RPS] == "9.0"


async def test_a_resize_decided_on_an_older_allocation_is_refused(make):
    pod = make.pod("p", make.notes(make.piece(), 4))
    newer = make.pod("p", make.notes(make.piece(), 5))
    with pytest.raises(ApiError, match="epoch"):
        await patched(pod, patches.resize(pod, make.piece(1), 9.0), stored=newer)


async def test_a_placement_is_one_patch_with_gate_node_and_allocation(make):
    pod = make.pod("p", gated=True)
    pod["spec"]["schedulingGates"].append({"name": "somebody/else"})
    after = await patched(pod, patches.place(pod, "gpu-node-1", make.piece(), 30.0))
    terms = after["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    named = {"key": "metadata.name", "operator": "In", "values": ["gpu-node-1"]}
    assert terms == [{"matchFields": [named]}]
    assert after["spec"]["schedulingGates"] == [{"name": "somebody/else"}]
    assert allocation_of(after["metadata"]["annotations"]) == make.piece()
    assert epoch_of(after["metadata"]["annotations"]) == 1


def test_a_placement_keeps_every_alternative_of_the_users_own_affinity(make):
    zone = {"key": "zone", "operator": "In", "values": ["a"]}
    disk = {"key": "disk", "operator": "Exists"}
    own = [{"matchExpressions": [zone]}, {"matchExpressions": [disk]}]
    pod = make.pod("p", gated=True)
    pod["spec"]["affinity"] = {
        "podAntiAffinity": {},
        "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": own}},
    }
    before = copy.deepcopy(pod)
    (affinity,) = [
        o["value"]
        for o in patches.place(pod, "n", make.piece(), 1.0)
        if o["path"] == "/spec/affinity"
    ]
    terms = affinity["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    assert [term["matchExpressions"] for term in terms] == [[zone], [disk]]
    assert all(term["matchFields"][0]["values"] == ["n"] for term in terms)
    assert affinity["podAntiAffinity"] == {}
    assert pod == before


async def test_a_pod_that_somebody_else_placed_is_not_placed_again(make):
    pod = make.pod("p", gated=True)
    placed = make.pod("p", make.notes(make.piece(), 1), gated=True)
    placed["spec"]["schedulingGates"] = []
    with pytest.raises(ApiError, match="schedulingGates"):
        await patched(pod, patches.place(pod, "n", make.piece(), 1.0), stored=placed)


async def test_a_pod_made_again_under_the_same_name_is_not_touched(make):
    pod = make.pod("p", make.notes(make.piece(), 4))
    api = FakeApi()
    await api.create(PODS, pod, "default")
    with pytest.raises(ApiError, match="uid"):
        await api.patch(PODS, "p", patches.resize(pod, make.piece(1), 1.0), "default", kind="json")


def test_only_marks_that_change_are_written(make):
    fresh = make.pod("p")
    marked = make.pod("p", {contract.POD_DELETION_COST: patches.VICTIM_COST})
    assert patches.deletion_cost(fresh, victim=False) is None
    assert patches.deletion_cost(marked, victim=True) is None
    assert patches.deletion_cost(fresh, victim=True)[-1]["value"] == patches.VICTIM_COST
    assert patches.deletion_cost(marked, victim=False)[-1]["value"] == patches.NORMAL_COST


def test_a_users_own_deletion_cost_is_kept_while_the_pod_stays(make):
    own = make.pod("p", {contract.POD_DELETION_COST: "50"})
    assert patches.deletion_cost(own, victim=False) is None
