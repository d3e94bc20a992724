"""Whole runs: determinism, conservation, and no policy that sees the future."""

from dataclasses import replace

import pytest

from autoscaler.policy.plan import Plan
from autoscaler.simulator import contenders
from autoscaler.simulator.contenders import POLICIES, Context
from autoscaler.simulator.run import Beginning, Nobody, simulate
from autoscaler.simulator.scenario import Load, Scenario
from kserve_has.config.policy import PolicySettings
from kserve_has.gpu import H200
from kserve_has.latency.table import load_table
from kserve_has.loadgen.trace import Trace
from kserve_has.rapp.online import Learner
from kserve_has.rapp.profiled import from_profiles
from kserve_has.rapp.profiles import Profile, ProfilePoint
from kserve_has.slo import Slo

from ..policy.worlds import piece

STEPS = Trace((0.0, 20.0, 35.0), (20.0, 120.0, 15.0), 50.0)
TABLE = load_table()


def context(seed=0, gpus=4, loads=1, trace=STEPS, objective=5.0):
    slo = Slo(objective * 3.04, 99)
    own = tuple(Load(f"ns/{i}", "resnet50", 1, slo, trace, max_replicas=8) for i in range(loads))
    scenario = Scenario(own, gpus, trace.end_s, seed, warmup_s=20.0)
    return Context(scenario, objective, PolicySettings(), TABLE)


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_answers_or_fails_every_request_it_was_offered(name):
    (found,) = contenders.run(name, context()).values()
    again = contenders.run(name, context())
    assert {"ns/0": found} == again  # the same seed, the same bytes
    assert 0 <= found.late + found.failed <= found.offered
    expected = 20 * 20 + 15 * 120 + 15 * 15
    assert expected * 0.9 < found.offered < expected * 1.1
    assert found.cost_with_memory_gpu_s >= found.cost_gpu_s - 1e-9 > 0


def test_another_seed_is_another_run_of_the_same_load():
    one, two = (contenders.run("hybrid", context(seed))["ns/0"] for seed in (0, 1))
    assert one != two


def test_every_policy_is_offered_the_same_requests():
    offered = {contenders.run(name, context())["ns/0"].offered for name in ("hybrid", "fast")}
    assert len(offered) == 1


def test_offered_is_answered_and_failed_and_nothing_else():
    class Watched(Nobody):
        def decide(self, observation, signals):
            return Plan(())

    base = context().scenario
    start = {"ns/0": Beginning(((piece(0b1, 100, "GPU-0000"), 50.0),))}
    outcome = simulate(base, Watched(), start)["ns/0"]
    # 8 SMs serve 136 requests/s, 120 are offered: all are answered in the end.
    assert outcome.failed == 0
    no_replica = simulate(base, Nobody(), {"ns/0": Beginning(())})["ns/0"]
    assert (no_replica.offered, no_replica.late) == (no_replica.failed, 0)
    assert no_replica.cost_gpu_s == 0.0


def test_static_pieces_cost_their_share_of_the_time():
    start = {"ns/0": Beginning(((piece(0b1, 50, "GPU-0000"), 50.0),))}
    outcome = simulate(context().scenario, Nobody(), start)["ns/0"]
    assert 50.0 * 8 * 50 / 13200 == pytest.approx(outcome.cost_gpu_s)


def test_a_share_is_one_of_the_gpu_at_hand():
    start = {"ns/0": Beginning(((piece(0b1, 50, "GPU-0000"), 50.0),))}
    half = replace(H200, sm_count=66)
    outcome = simulate(replace(context().scenario, geometry=half), Nobody(), start)["ns/0"]
    assert 50.0 * 8 * 50 / 6600 == pytest.approx(outcome.cost_gpu_s)


def test_more_late_answers_on_less():
    base = context().scenario
    rates = []
    for quota in (100, 60):
        start = {"ns/0": Beginning(((piece(0b1, quota, "GPU-0000"), 50.0),))}
        rates.append(simulate(base, Nobody(), start)["ns/0"].violation_rate)
    assert rates[0] < rates[1]


def test_the_hybrid_serves_a_step_better_than_what_it_starts_with():
    (ours,) = contenders.run("hybrid", context()).values()
    assert ours.violation_rate < 0.25
    assert ours.resizes + ours.scale_outs > 0


def test_several_services_share_the_gpus_and_are_counted_apart():
    found = contenders.run("hybrid", context(loads=3, gpus=2))
    assert ["ns/0", "ns/1", "ns/2"] == list(found)
    assert len({o.offered for o in found.values()}) > 1  # seeds differ


def test_vertical_only_never_scales_and_horizontal_only_never_resizes():
    vertical = contenders.run("vertical-only", context())["ns/0"]
    horizontal = contenders.run("horizontal-only", context())["ns/0"]
    assert vertical.scale_outs == 0
    assert horizontal.resizes == 0


def test_constant_load_causes_no_oscillation():
    flat = Trace((0.0,), (60.0,), 240.0)
    found = contenders.run("hybrid", context(trace=flat))["ns/0"]
    assert found.scale_outs + found.scale_ins <= 4  # at most one a minute
    assert found.resizes <= 24
    assert found.violation_rate <= 0.01


def test_the_warm_up_is_not_counted():
    found = contenders.run("static", context())["ns/0"]
    longer = context()
    longer = replace(longer, scenario=replace(longer.scenario, warmup_s=40.0))
    assert abs(contenders.run("static", longer)["ns/0"].offered - found.offered) < 200


SERVED = ((8, 6.0), (32, 2.4), (132, 2.0))  # what the GPU really takes, ms
CARD = {"gpu": H200.product, "sm_count": 132, "driver": "0"}


def test_a_latency_model_that_was_too_cautious_learns_from_what_runs_and_costs_less():
    # The profile takes the service for half as fast again as it is.
    points = (ProfilePoint(1, sm, 100, 9, 1.5 * ms, 1.5 * ms, 1.5 * ms) for sm, ms in SERVED)
    model = from_profiles([Profile("odd", "bf16", "graph", CARD, tuple(points))])
    flat = Trace((0.0,), (80.0,), 300.0)
    truth = tuple((sm, ms, 0.0, 0.0) for sm, ms in SERVED)
    load = Load("ns/0", "odd", 1, Slo(30.0, 99), flat, points=truth)
    base = Context(Scenario((load,), 4, 300.0), 5.0, PolicySettings(), model)
    learner = Learner(model)
    before = contenders.run("hybrid", base)["ns/0"]
    after = simulate(*contenders.learning(learner)(base))["ns/0"]
    piece_ms = learner.model.predict("odd", H200.product, 1, 8, 100).mean_ms
    assert model.predict("odd", H200.product, 1, 8, 100).mean_ms == pytest.approx(9.0, rel=0.05)
    assert piece_ms == pytest.approx(6.0, rel=0.05)
    assert after.cost_gpu_s < 0.9 * before.cost_gpu_s
    assert after.violation_rate < 0.01
