import json

import pytest

from kserve_has import contract
from quota_runtime.agent.wanted import (
    acknowledged_epoch,
    acknowledgement,
    is_placed,
    parse_wanted,
)

from .conftest import make_pod


def annotations(**changes):
    return make_pod("a", groups=0b0011, quota=40, epoch=3, **changes)["metadata"]["annotations"]


def test_annotations_are_read_as_an_allocation():
    wanted = parse_wanted(annotations())
    allocation = wanted.allocation
    assert (3, "GPU-a", 0b0011, 16, 40, 100) == (
        wanted.epoch,
        allocation.gpu_uuid,
        allocation.sm_groups,
        allocation.sm_partition,
        allocation.quota_percent,
        allocation.memory_bytes,
    )


def test_all_problems_are_reported_at_once():
    bad = {contract.SM_GROUPS: "0x0", contract.QUOTA: "101", contract.MEMORY_LIMIT: "4Gi"}
    with pytest.raises(ValueError, match="sm-groups") as caught:
        parse_wanted(annotations(**bad))
    assert all(word in str(caught.value) for word in ("quota: 101", "memory-limit: '4Gi'"))


@pytest.mark.parametrize("key", [contract.SM_GROUPS, contract.SM_PARTITION, contract.MEMORY_LIMIT])
def test_a_missing_annotation_is_a_problem(key):
    held = annotations()
    del held[key]
    with pytest.raises(ValueError, match=key):
        parse_wanted(held)


def test_a_pod_is_placed_once_it_has_a_gpu_and_an_epoch():
    assert is_placed(annotations())
    assert not is_placed(annotations(**{contract.GPU_UUID: ""}))
    held = annotations()
    del held[contract.EPOCH]
    assert not is_placed(held)


def test_an_acknowledgement_is_read_back():
    value = acknowledgement(parse_wanted(annotations()), "A", 1_800_000_000.25)
    assert {
        "epoch": 3,
        "sm_groups": "0x0003",
        "quota": 40,
        "backend": "A",
        "at": "2027-01-15T08:00:00.250000Z",
    } == json.loads(value)
    assert 3 == acknowledged_epoch({contract.IN_FORCE: value})


@pytest.mark.parametrize("value", ["", "x", "[]", '{"epoch": "3"}', "{}"])
def test_a_damaged_acknowledgement_counts_as_none(value):
    assert acknowledged_epoch({contract.IN_FORCE: value}) is None
    assert acknowledged_epoch({}) is None
