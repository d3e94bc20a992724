import asyncio

import pytest

from autoscaler.controller.apply import Applier
from autoscaler.controller.fake_api import FakeApi
from autoscaler.controller.observe import Objects, allocation_of, observe
from autoscaler.controller.patches import VICTIM_COST
from autoscaler.controller.report import Outcome
from autoscaler.policy.observation import Traffic
from autoscaler.policy.plan import Because, Hold, Place, Plan, Reason, Resize, SetScale
from kserve_has import contract
from kserve_has.config.controller import ControllerSettings
from kserve_has.kube import ApiError
from kserve_has.kube.resources import DEPLOYMENTS, PODS

WHY = Because(Reason.DEMAND_ROSE)
SETTINGS = ControllerSettings()


class Cluster:
    """Two services with their pods, in the fake API and as observed."""

    def __init__(self, make):
        self.api = FakeApi()
        self.make = make
        self.leading = True
        self.written = []

    async def start(self, pods, services=("shop",)):
        stored = [await self.api.create(PODS, pod, "default") for pod in pods]
        deployments = [
            await self.api.create(DEPLOYMENTS, self.make.deployment(name, 2), "default")
            for name in services
        ]
        isvcs = [self.make.isvc(name) for name in services]
        objects = Objects(isvcs, deployments, stored, [])
        nothing = Traffic(sample_age_s=0.0)
        self.world = observe(objects, lambda *_: nothing, SETTINGS, 0.0, 2e9)
        self.api.requests.clear()
        return self

    async def apply(self, *actions, settings=SETTINGS):
        applier = Applier(
            self.api,
            settings,
            lambda: self.leading,
            lambda resource, item: self.written.append((resource, item)),
        )
        return [one.outcome for one in await applier.apply(Plan(actions), self.world)]

    async def notes(self, name):
        return (await self.api.get(PODS, name, "default"))["metadata"]["annotations"]

    async def scale(self, name="shop"):
        found = await self.api.get(DEPLOYMENTS, f"{name}-predictor", "default")
        return found["spec"]["replicas"]


@pytest.fixture
def cluster(make):
    return Cluster(make)


def resize(replica, allocation, service="default/shop"):
    return Resize(service, replica, allocation, 10.0, WHY)


def two(make):
    return [make.pod(name, make.notes(make.piece(), 1), ready=True) for name in ("a", "b")]


def refusing(name, status=500, times=10**6):
    left = [times]

    def refuse(_verb, _plural, asked):
        if asked != name or left[0] == 0:
            return None
        left[0] -= 1
        return ApiError(status, "Refused", "on purpose", "PATCH")

    return refuse


async def test_a_plan_is_carried_out_in_its_order(cluster, make):
    running = make.pod("a", make.notes(make.piece(), 1), ready=True)
    await cluster.start([running, make.pod("b", gated=True)])
    outcomes = await cluster.apply(
        resize("a", make.piece(0x0001)),
        Place("default/shop", "b", "gpu-node-0", make.piece(0x000E), 10.0, WHY),
        SetScale("default/shop", 3, (), WHY),
    )
    assert outcomes == [Outcome.APPLIED] * 3
    assert [name for _, _, name in cluster.api.requests] == ["a", "b", "shop-predictor"]
    assert allocation_of(await cluster.notes("a")) == make.piece(0x0001)
    assert allocation_of(await cluster.notes("b")) == make.piece(0x000E)
    assert await cluster.scale() == 3


async def test_victims_are_marked_before_the_count_falls(cluster, make):
    await cluster.start([*two(make)])
    await cluster.apply(SetScale("default/shop", 1, ("b",), WHY))
    assert [name for _, _, name in cluster.api.requests] == ["b", "shop-predictor"]
    assert (await cluster.notes("b"))[contract.POD_DELETION_COST] == VICTIM_COST


async def test_the_count_does_not_fall_when_a_victim_could_not_be_marked(cluster, make):
    await cluster.start([*two(make)])
    cluster.api.refuse = refusing("b", status=403)
    assert await cluster.apply(SetScale("default/shop", 1, ("b",), WHY)) == [Outcome.FAILED]
    assert await cluster.scale() == 2


async def test_what_rests_on_a_failed_action_is_left_undone_and_the_rest_is_not(cluster, make):
    pods = [
        make.pod("a", make.notes(make.piece(), 1)),
        make.pod("b", make.notes(make.piece(0x00F0), 1), service="cart"),
        make.pod("c", make.notes(make.piece(gpu="GPU-b"), 1), service="news"),
    ]
    await cluster.start(pods, ("shop", "cart", "news"))
    cluster.api.refuse = refusing("a", status=403)
    outcomes = await cluster.apply(
        resize("a", make.piece(0x0001)),
        resize("b", make.piece(0x00FE), "default/cart"),  # into the room that "a" did not give
        resize("c", make.piece(0x00FF, gpu="GPU-b"), "default/news"),
        SetScale("default/cart", 3, (), WHY),
    )
    assert outcomes == [Outcome.FAILED, Outcome.SKIPPED, Outcome.APPLIED, Outcome.SKIPPED]


async def test_a_busy_api_server_is_asked_again(cluster, make):
    await cluster.start([make.pod("a", make.notes(make.piece(), 1))])
    cluster.api.refuse = refusing("a", status=503, times=2)
    assert await cluster.apply(resize("a", make.piece(1))) == [Outcome.APPLIED]


async def test_an_api_server_that_stays_away_ends_the_action_not_the_loop(cluster, make):
    await cluster.start([make.pod("a", make.notes(make.piece(), 1))])
    cluster.api.refuse = refusing("a", status=503)
    assert await cluster.apply(resize("a", make.piece(1))) == [Outcome.FAILED]
    assert len(cluster.api.requests) == SETTINGS.write_attempts


async def test_a_server_that_hangs_ends_the_action_in_time(cluster, make, monkeypatch):
    await cluster.start([*two(make)])

    async def never(*_words, **_options):
        await asyncio.Event().wait()

    monkeypatch.setattr(cluster.api, "patch", never)
    async with asyncio.timeout(2):
        hurried = ControllerSettings(write_deadline_s=0.1)
        outcomes = await cluster.apply(resize("a", make.piece(1)), settings=hurried)
    assert outcomes == [Outcome.FAILED]


async def test_a_count_that_somebody_else_has_changed_is_left_alone(cluster, make):
    await cluster.start([*two(make)])
    merge = {"spec": {"replicas": 5}}
    await cluster.api.patch(DEPLOYMENTS, "shop-predictor", merge, "default", subresource="scale")
    assert await cluster.apply(SetScale("default/shop", 3, (), WHY)) == [Outcome.LOST_RACE]
    assert await cluster.scale() == 5


async def test_a_pod_changed_meanwhile_is_a_lost_race(cluster, make):
    await cluster.start([make.pod("a", make.notes(make.piece(), 1))])
    await cluster.apply(resize("a", make.piece(1)))
    assert await cluster.apply(resize("a", make.piece(2))) == [Outcome.LOST_RACE]
    assert allocation_of(await cluster.notes("a")) == make.piece(1)


async def test_a_pod_that_is_no_longer_gated_is_not_placed(cluster, make):
    await cluster.start([make.pod("a")])
    place = Place("default/shop", "a", "gpu-node-0", make.piece(), 10.0, WHY)
    assert await cluster.apply(place) == [Outcome.LOST_RACE]
    assert cluster.api.requests == []


async def test_nothing_is_written_without_the_lease(cluster, make):
    await cluster.start([make.pod("a", make.notes(make.piece(), 1))])
    cluster.leading = False
    scale = SetScale("default/shop", 3, (), WHY)
    assert await cluster.apply(resize("a", make.piece(1)), scale) == [Outcome.SKIPPED] * 2
    assert cluster.api.requests == []


async def test_a_lease_lost_between_two_writes_stops_the_second(cluster, make):
    await cluster.start([*two(make)])

    def lose(_verb, _plural, name):
        cluster.leading = name != "b"

    cluster.api.refuse = lose
    assert await cluster.apply(SetScale("default/shop", 1, ("b",), WHY)) == [Outcome.FAILED]
    assert await cluster.scale() == 2


async def test_every_answer_is_handed_on(cluster, make):
    await cluster.start([make.pod("a", make.notes(make.piece(), 1))])
    await cluster.apply(resize("a", make.piece(1)), SetScale("default/shop", 3, (), WHY))
    assert [resource for resource, _ in cluster.written] == [PODS, DEPLOYMENTS]
    assert cluster.written[1][1]["spec"]["replicas"] == 3


async def test_holding_still_writes_nothing_and_stops_nothing(cluster, make):
    await cluster.start([make.pod("a", make.notes(make.piece(), 1))])
    hold = Hold("default/shop", WHY)
    outcomes = await cluster.apply(hold, resize("a", make.piece(1)))
    assert outcomes == [Outcome.HELD, Outcome.APPLIED]


async def test_actions_on_what_is_unknown_are_skipped(cluster, make):
    await cluster.start([make.pod("a", make.notes(make.piece(), 1))])
    outcomes = await cluster.apply(
        resize("nobody", make.piece(1)), SetScale("default/gone", 1, (), WHY)
    )
    assert outcomes == [Outcome.SKIPPED] * 2
