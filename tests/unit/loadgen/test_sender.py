import asyncio
import math
import time

import pytest
from aiohttp import web

from kserve_has.loadgen.__main__ import main
from kserve_has.loadgen.plan import NO_ANSWER, NO_CONNECTION, NOT_SENT, Plan, parse_outcome
from kserve_has.loadgen.plan import read_plan as read
from kserve_has.loadgen.sender import send


@pytest.fixture
async def serve():
    runners = []

    async def start(handler):
        app = web.Application()
        app.router.add_post("/p", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/p"

    yield start
    for runner in runners:
        await runner.cleanup()


def plan(url, due, **changes):
    return Plan(url=url, host="resnet.demo", body='{"instances":[1]}', due_s=due, **changes)


async def outcomes_of(a_plan):
    found = []
    await send(a_plan, time.monotonic(), found.append)
    return sorted(found, key=lambda outcome: outcome.due_s)


async def test_every_request_carries_host_and_body_and_is_recorded(serve):
    seen = []

    async def answer(request):
        seen.append((request.headers["Host"], await request.text()))
        return web.json_response({})

    found = await outcomes_of(plan(await serve(answer), (0.0, 0.01, 0.02)))
    assert [o.status for o in found] == [200, 200, 200]
    assert all(o.ok and 0 < o.latency_ms < 5000 for o in found)
    assert seen == [("resnet.demo", '{"instances":[1]}')] * 3


async def test_requests_go_out_when_due_though_earlier_ones_hang(serve):
    release = asyncio.Event()
    arrived = []

    async def answer(_request):
        arrived.append(True)
        if len(arrived) == 3:
            release.set()
        await release.wait()
        return web.json_response({})

    found = await outcomes_of(plan(await serve(answer), (0.0, 0.01, 0.02)))
    assert [o.ok for o in found] == [True] * 3


async def test_waiting_for_a_connection_counts_as_latency(serve):
    async def answer(_request):
        await asyncio.sleep(0.05)
        return web.json_response({})

    found = await outcomes_of(plan(await serve(answer), (0.0, 0.0, 0.0), connections=1))
    assert max(o.latency_ms for o in found) >= 150


async def test_a_request_sent_late_is_measured_from_when_it_was_due(serve):
    async def answer(_request):
        return web.json_response({})

    found = []
    await send(plan(await serve(answer), (0.0,)), time.monotonic() - 0.3, found.append)
    assert found[0].latency_ms >= 300
    assert found[0].sent_s >= 0.3


async def test_an_answer_after_the_limit_never_came(serve):
    async def answer(_request):
        await asyncio.sleep(5)
        return web.json_response({})

    found = await outcomes_of(plan(await serve(answer), (0.0,), timeout_s=0.05))
    assert [(o.status, o.latency_ms) for o in found] == [(NO_ANSWER, math.inf)]


async def test_a_refused_connection_and_an_error_are_told_apart(serve, unused_tcp_port):
    async def answer(_request):
        return web.Response(status=503)

    refused = await outcomes_of(plan(f"http://127.0.0.1:{unused_tcp_port}/p", (0.0,)))
    error = await outcomes_of(plan(await serve(answer), (0.0,)))
    assert [o.status for o in refused] == [NO_CONNECTION]
    assert [(o.status, o.ok) for o in error] == [(503, False)]


async def test_beyond_the_bound_of_outstanding_requests_one_is_recorded_as_not_sent(serve):
    async def answer(_request):
        await asyncio.sleep(0.1)
        return web.json_response({})

    found = await outcomes_of(plan(await serve(answer), (0.0, 0.0, 0.0), outstanding=2))
    assert sorted(o.status for o in found) == [NOT_SENT, 200, 200]


async def test_ending_early_leaves_every_request_on_record(serve):
    async def answer(_request):
        await asyncio.sleep(5)
        return web.json_response({})

    found = []
    sending = asyncio.create_task(
        send(plan(await serve(answer), (0.0, 60.0, 61.0)), time.monotonic(), found.append)
    )
    await asyncio.sleep(0.05)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert sorted(o.status for o in found) == [NOT_SENT, NOT_SENT, NO_ANSWER]


def test_plan_and_outcomes_survive_the_file(tmp_path, unused_tcp_port):
    a_plan = plan(f"http://127.0.0.1:{unused_tcp_port}/p", (0.0, 0.01))
    a_plan.write(tmp_path / "plan.json")
    assert read(tmp_path / "plan.json") == a_plan
    out = tmp_path / "outcomes.csv"
    assert main([str(tmp_path / "plan.json"), str(out), str(time.monotonic())]) == 0
    found = [parse_outcome(line) for line in out.read_text().splitlines()]
    assert [(o.due_s, o.status) for o in found] == [(0.0, NO_CONNECTION), (0.01, NO_CONNECTION)]


def test_wrong_arguments_print_how_to_call_it(capsys):
    assert main([]) == 2
    assert "PLAN.json" in capsys.readouterr().err
