import io
from dataclasses import replace

import pytest
from rich.console import Console

from kserve_has.cli.fleet import Decision, Replica, Service
from kserve_has.cli.tables import decisions_table, replicas_table, services_table
from kserve_has.slo import Slo

SERVICE = Service("team/net", Slo(80.0, 99), "resnet50", 8, True)
HELD = Replica("team/net", "net-1", "ready", "node-a", "GPU-12345678-9", 66, 50, 3, 2)
GATED = Replica("team/net", "net-2", "gated")


def text_of(table):
    out = io.StringIO()
    Console(file=out, width=140).print(table)
    return out.getvalue()


def test_services_show_objective_replicas_and_compute_held():
    text = text_of(services_table([SERVICE], [HELD, GATED], {"GPU-12345678-9": 132}))
    for word in ("team/net", "p99 <= 80 ms", "resnet50", "yes", "1/2", "0.250"):
        assert word in text


@pytest.mark.parametrize(
    ("sm_counts", "held"), [({"GPU-12345678-9": 110}, "0.300"), ({}, "unknown")]
)
def test_what_is_held_is_counted_in_the_gpus_there_are(sm_counts, held):
    assert held in text_of(services_table([SERVICE], [HELD, GATED], sm_counts))


def test_a_replica_that_cannot_be_read_says_so():
    text = text_of(replicas_table([replace(GATED, unreadable=("kserve-has/quota",))]))
    assert "cannot read kserve-has/quota" in text


def test_replicas_show_their_piece_and_whether_it_is_in_force():
    text = text_of(replicas_table([HELD, GATED]))
    for word in ("12345678", "66", "50 %", "#3 pending", "gated", "waits for a place"):
        assert word in text


def test_only_the_newest_decisions_are_shown():
    made = [Decision(f"2026-01-01T00:00:0{i}Z", "team/net", f"Reason{i}", "m") for i in range(4)]
    text = text_of(decisions_table(made, 2))
    assert "Reason1" not in text
    assert text.index("Reason2") < text.index("Reason3")
