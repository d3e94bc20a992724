"""The C cases that run as one process of a pod on the emulated GPU, one test each."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from .building import HERE, RUNTIME, build_program

SOURCES = (
    "case_partition.c",
    "case_ahead.c",
    "case_graph.c",
    "case_graph_move.c",
    "case_graph_end.c",
    "case_graph_drain.c",
    "case_meet.c",
    "case_memory.c",
    "case_lease.c",
    "case_lease_pod.c",
    "case_lease_turn.c",
)
# Each with the sources of the library that it is linked with.
PURE = {
    "case_arithmetic.c": ("estimate.c", "ledger.c"),
    "case_lease_rules.c": (),
    "case_lease_fair.c": (),
}


def cases_of(source: str) -> list[str]:
    return re.findall(r"CASE\((\w+)\)", (HERE / source).read_text())


FAULTS = {
    "a_graph_that_cannot_be_made_pays_with_time": {"HAS_EMULATOR_FAULT": "instantiate_after=1"},
    "a_graph_is_destroyed_with_all_that_was_made_of_it": {"HAS_EMULATOR_FAULT": "graphs=3"},
    "a_graph_that_cannot_be_launched_goes_back": {"HAS_EMULATOR_FAULT": "graph_sms=60"},
}
FAULTS |= {
    case: {"HAS_EMULATOR_FAULT": "green_delay_us=30000"} for case in cases_of("case_ahead.c")
}
FAULTS |= {
    case: {"HAS_EMULATOR_FAULT": "instantiate_delay_us=30000"}
    for case in cases_of("case_graph_drain.c")
}
FAULTS |= {
    "a_stream_made_later_has_its_place_on_it_too": {
        "HAS_EMULATOR_FAULT": "green_delay_us=30000,green_stream_delay_us=20000"
    },
    "work_rests_while_its_partition_is_made": {"HAS_EMULATOR_FAULT": "green_trips=25"},
    "what_nobody_used_makes_room_and_what_was_used_stays": {"HAS_EMULATOR_FAULT": "greens=11"},
    "graphs_that_take_long_are_waited_for_for_a_bounded_time": {
        "HAS_EMULATOR_FAULT": "instantiate_delay_us=400000"
    },
    "another_slot_ends_the_turn_in_the_old_one": {"HAS_EMULATOR_FAULT": "query_delay_us=50000"},
    "who_comes_while_a_stream_moves_waits_until_it_has": {
        "HAS_EMULATOR_FAULT": "green_stream_delay_us=150000"
    },
    "who_launches_a_graph_that_changes_waits_for_the_launch_that_changes_it": {
        "HAS_EMULATOR_FAULT": "graph_launch_delay_us=150000"
    },
    "one_that_cannot_be_had_is_not_asked_for_again": {
        "HAS_EMULATOR_FAULT": "green_delay_us=30000,green_after=1"
    },
}
CASES = [(source, case) for source in SOURCES for case in cases_of(source)]


@cache
def program(source: str, out: Path) -> Path:
    return build_program(out, source, driver=out)


@cache
def built_pure(source: str, out: Path) -> Path:
    parts = [str(RUNTIME / "src" / name) for name in PURE[source]]
    flags = ("-fsanitize=undefined", "-fno-sanitize-recover=undefined")
    return build_program(out, source, *parts, flags=flags)


@pytest.mark.parametrize(("source", "case"), CASES)
def test_in_a_pod(source, case, out, environment, pod, leases):
    pod.set()
    within = (
        environment
        | {
            "KSERVE_HAS_DIR": str(pod.folder),
            "KSERVE_HAS_LEASES": str(leases),
        }
        | FAULTS.get(case, {})
    )
    command = [program(source, out), case]
    done = subprocess.run(
        command, env=within, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("source", "case"), [(source, case) for source in PURE for case in cases_of(source)]
)
def test_in_arithmetic(source, case, out):
    command = [built_pure(source, out), case]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_every_case_in_the_sources_is_run():
    for source in (*SOURCES, *PURE):
        written = re.findall(
            r"^static void (\w+)\(void\)$", (HERE / source).read_text(), re.MULTILINE
        )
        helpers = {
            "start_limited",
            "share",
            "set",
            "clear",
            "say",
            "wait_in_line",
            "work",
            "begin",
            "begin_a_long_turn",
        }
        assert set(written) - helpers == set(cases_of(source))
