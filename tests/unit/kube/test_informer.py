import asyncio
import contextlib

import pytest

from kserve_has.kube import Informer, annotations_of, informer, labels_of, uid_of
from kserve_has.kube.resources import PODS

from .conftest import item


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(informer, "FIRST_BACKOFF_S", 0.001)


@contextlib.asynccontextmanager
async def followed(client, seen=None):
    async def note(kind, found):
        seen.append((kind, found["metadata"]["name"], found["metadata"]["uid"]))

    held = Informer(client, PODS, on_event=None if seen is None else note)
    task = asyncio.create_task(held.run())
    try:
        async with asyncio.timeout(5):
            await held.synced()
            yield held
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def event(kind, found):
    return {"type": kind, "object": found}


async def test_the_cache_follows_the_watch(api, client):
    api.pages = [[item("a", 1)]]
    seen = []
    async with followed(client, seen) as held:
        api.events.put_nowait(event("ADDED", item("b", 2)))
        api.events.put_nowait(event("DELETED", item("a", 3)))
        await held.wait_for(lambda objects: {("n", "b")} == objects.keys())
    assert [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")] == [entry[:2] for entry in seen]


async def test_a_watch_that_ends_goes_on_from_the_last_version_without_a_list(api, client):
    async with followed(client) as held:
        api.events.put_nowait(event("BOOKMARK", item("", 7)))
        api.events.put_nowait(None)
        api.events.put_nowait(event("ADDED", item("a", 8)))
        await held.wait_for(lambda objects: bool(objects))
    assert (1, ["1", "7"]) == (api.lists, api.watches)


async def test_an_expired_version_leads_to_a_list_whose_differences_become_events(api, client):
    api.pages = [[item("kept", 1), item("gone", 1), item("changed", 1), item("made-again", 1)]]
    seen = []
    async with followed(client, seen) as held:
        version = await held.changed(3)
        seen.clear()
        api.pages = [
            [item("kept", 1), item("changed", 2), item("made-again", 2, "other"), item("new", 2)]
        ]
        api.events.put_nowait(event("ERROR", {"code": 410}))
        while len(seen) < 5:
            version = await held.changed(version)
    assert [
        ("DELETED", "gone", "gone"),
        ("MODIFIED", "changed", "changed"),
        ("DELETED", "made-again", "made-again"),
        ("ADDED", "made-again", "other"),
        ("ADDED", "new", "new"),
    ] == seen


async def test_a_server_that_fails_for_a_while_is_asked_again(api, client):
    api.answers = [(500, {}), (503, {})]
    api.pages = [[item("a", 1)]]
    async with followed(client) as held:
        assert {("n", "a")} == held.objects.keys()
        assert held.last_event_age() < 5


@pytest.fixture
def waits(monkeypatch):
    """The back-offs that an informer wanted, none of which is waited for."""
    found = []
    sleep = asyncio.sleep

    async def note(seconds):
        found.append(seconds)
        await sleep(0)

    monkeypatch.setattr(informer.asyncio, "sleep", note)
    monkeypatch.setattr(informer, "FIRST_BACKOFF_S", 0.2)
    monkeypatch.setattr(informer.random, "uniform", lambda _low, _high: 1.0)
    return found


async def until(predicate):
    async with asyncio.timeout(5):
        while not predicate():
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)


async def test_a_server_that_ends_every_watch_at_once_is_not_asked_without_pause(
    api, client, waits
):
    async with followed(client):
        for _ in range(3):
            api.events.put_nowait(None)
        await until(lambda: len(api.watches) == 4)
    assert waits.count(0.2) >= 3


async def test_a_watch_that_worked_until_it_was_cut_is_no_reason_to_wait_longer(api, client, waits):
    async with followed(client):
        for count in range(4):
            api.events.put_nowait(event("BOOKMARK", item("", 7)))
            api.events.put_nowait(event("ERROR", {"code": 500}))
            await until(lambda wanted=count + 2: len(api.watches) >= wanted)
    assert [w for w in waits if w >= 0.2] == [0.2] * 4


async def test_a_server_that_stays_away_is_asked_ever_less(api, client, waits):
    api.answers = [(500, {})] * 4
    async with followed(client):
        pass
    assert [w for w in waits if w >= 0.2][:4] == [0.2, 0.4, 0.8, 1.6]


def test_what_an_object_lacks_is_empty():
    found = item("a", 1, "u")
    assert ("u", {}, {}) == (uid_of(found), annotations_of(found), labels_of(found))
