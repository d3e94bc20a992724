import asyncio

import pytest

from autoscaler.controller.fake_api import FakeApi
from autoscaler.controller.lease import Leadership
from kserve_has import contract
from kserve_has.config.controller import ControllerSettings
from kserve_has.kube import ApiError
from kserve_has.kube.resources import LEASES

SETTINGS = ControllerSettings()


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def api():
    return FakeApi()


def contender(api, name, clock):
    return Leadership(api, name, SETTINGS, clock=clock)


async def spec_of(api):
    return (await api.get(LEASES, contract.LEASE_NAME, contract.NAMESPACE))["spec"]


async def test_the_first_leads_and_the_second_follows(api, clock):
    first, second = contender(api, "a", clock), contender(api, "b", clock)
    assert await first.attempt()
    assert not await second.attempt()
    assert first.held()
    assert not second.held()


async def test_a_leader_that_renews_keeps_the_lease(api, clock):
    first, second = contender(api, "a", clock), contender(api, "b", clock)
    await first.attempt()
    for _ in range(20):
        clock.now += SETTINGS.lease_renew_s
        assert not await second.attempt()
        assert await first.attempt()
    assert (await spec_of(api))["leaseTransitions"] == 1


async def test_a_killed_leader_is_followed_within_ten_seconds(api, clock):
    await contender(api, "a", clock).attempt()
    second = contender(api, "b", clock)
    died = clock.now
    while not await second.attempt():
        clock.now += SETTINGS.lease_renew_s
        assert clock.now - died < 8
    assert second.held()


async def test_a_leader_cut_off_stops_before_another_may_start(api, clock):
    first, second = contender(api, "a", clock), contender(api, "b", clock)
    await first.attempt()
    await second.attempt()
    while not await second.attempt():
        clock.now += 0.05
    clock.now -= 0.05
    assert not first.held()


async def test_a_leader_that_comes_back_too_late_follows(api, clock):
    first, second = contender(api, "a", clock), contender(api, "b", clock)
    await first.attempt()
    await second.attempt()
    clock.now += SETTINGS.lease_duration_s + 0.1
    assert await second.attempt()
    assert not await first.attempt()
    assert not first.held()


async def test_a_released_lease_is_free_at_once(api, clock):
    first, second = contender(api, "a", clock), contender(api, "b", clock)
    await first.attempt()
    await first.release()
    assert not first.held()
    assert await second.attempt()


async def test_a_follower_does_not_release_what_it_does_not_hold(api, clock):
    first, second = contender(api, "a", clock), contender(api, "b", clock)
    await first.attempt()
    await second.attempt()
    await second.release()
    assert (await spec_of(api))["holderIdentity"] == "a"


@pytest.mark.parametrize("verb", ["create", "replace"])
async def test_of_two_that_try_at_once_one_leads(api, clock, verb):
    if verb == "replace":
        await contender(api, "former", clock).attempt()
        lease = await api.get(LEASES, contract.LEASE_NAME, contract.NAMESPACE)
        lease["spec"]["holderIdentity"] = ""
        await api.replace(LEASES, lease)
    api.refuse = lambda asked, *_: ApiError(409, "Conflict", "", "") if asked == verb else None
    slower = contender(api, "b", clock)
    assert not await slower.attempt()
    assert not slower.held()


async def test_an_api_server_that_hangs_does_not_stop_the_attempts(clock):
    class Hanging:
        def __init__(self):
            self.asked = 0

        async def get(self, *_words):
            self.asked += 1
            await asyncio.Event().wait()

    api = Hanging()
    settings = ControllerSettings(lease_duration_s=2, lease_renew_s=0.1)
    task = asyncio.create_task(Leadership(api, "a", settings, clock=clock).run())
    try:
        async with asyncio.timeout(5):
            while api.asked < 2:
                await asyncio.sleep(0.05)
    finally:
        task.cancel()


async def test_an_api_server_that_does_not_answer_is_no_reason_to_lead(api, clock):
    api.refuse = lambda *_: ApiError(503, "Unavailable", "", "")
    lonely = contender(api, "a", clock)
    with pytest.raises(ApiError):
        await lonely.attempt()
    assert not lonely.held()
