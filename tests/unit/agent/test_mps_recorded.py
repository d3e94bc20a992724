"""What a real daemon was recorded to say is understood, and the stand-in says it in the same words."""

import json
from pathlib import Path

import pytest

from quota_runtime.agent.mps import answers
from quota_runtime.agent.mps.answers import Broken, Faulted, LogReader

from .mps_bench import MpsBench

ROOT = Path(__file__).parents[3]
CASES = json.loads((ROOT / "docs/results/mps-faults.json").read_text())["cases"]


def answer(case, when, command):
    (found,) = [a["out"] for a in CASES[case][when] if a["command"].split()[0] == command]
    return found


def signs(case, kind):
    return [sign for sign in LogReader().read(CASES[case]["server.log"]) if isinstance(sign, kind)]


@pytest.mark.parametrize("case", CASES)
def test_the_table_of_clients_agrees_with_their_list(case):
    listed = answers.servers(answer(case, "with_two", "get_client_list"))
    table = answers.clients(answer(case, "with_two", "ps"))
    assert sorted(listed) == sorted(client.pid for client in table)
    (server,) = answers.servers(answer(case, "with_two", "get_server_list"))
    assert {server} == {client.server for client in table}


@pytest.mark.parametrize(
    ("case", "victims"),
    [
        ("stray write", 3),
        ("kill in mid-kernel", 2),
        ("terminate_client, then kill in mid-kernel", 0),
        ("kill while idle", 0),
    ],
)
def test_the_log_names_everybody_whom_the_fault_broke(case, victims):
    broken = {sign.pid for sign in signs(case, Broken)}
    assert victims == len(broken)
    assert bool(victims) == len(signs(case, Faulted))
    status = answer(case, "after", "get_server_status").strip()
    assert (status == answers.FAULT) is bool(victims)
    if victims:
        assert broken >= {client.pid for client in answers.clients(answer(case, "after", "ps"))}


def test_a_recorded_termination_is_seen_to_have_succeeded():
    (done,) = CASES["terminate_client, then kill in mid-kernel"]["terminate"]
    assert answers.is_terminated(done["out"])


async def test_the_stand_in_answers_in_the_recorded_form(tmp_path):
    mps = MpsBench(tmp_path)
    await mps.daemon.check()
    assert "Server not found\n" == await mps.control.ask("ps")
    await mps.connect(514, "pod", server=517, device="GPU-ded50743-ffed-62c9")
    real, fake = answer("stray write", "with_two", "ps"), await mps.control.ask("ps")
    assert real.splitlines()[0].split() == fake.splitlines()[0].split()
    assert len(real.splitlines()[1].split()) == len(fake.splitlines()[1].split())
    assert "ACTIVE\n" == await mps.control.ask("get_server_status 517")
    assert "514\n" == await mps.control.ask("get_client_list 517")
    assert "0\n" == await mps.control.ask("terminate_client 517 514")
    await mps.close()
