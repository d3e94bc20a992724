import json
from dataclasses import replace

import pytest

from kserve_has.cli.fleet import Service
from kserve_has.config.demo import DemoSettings
from kserve_has.demo import run
from kserve_has.demo.loads import Load, model_in_url, plan_loads, plan_of
from kserve_has.errors import TraceError
from kserve_has.loadgen.plan import Outcome
from kserve_has.loadgen.trace import Trace, bundled
from kserve_has.slo import Slo

RESNET = Service("has-demo/resnet50", Slo(100.0), "resnet50", 8, True)
BERT = Service("has-demo/bert", Slo(250.0), "bert_base_384", 8, True)
SETTINGS = DemoSettings(lead_in_s=10.0, speed=8.0)


def both(source=None, **changes):
    return plan_loads(
        [(BERT, "bert"), (RESNET, "resnet50")],
        source or bundled(),
        60.0,
        SETTINGS,
        **{"whole": False, **changes},
    )


def test_each_service_gets_its_own_span_scaled_by_its_models_factor():
    bert, resnet = both()
    assert (bert.factor, resnet.factor) == (3.0, 6.0)
    assert abs(bert.from_s - resnet.from_s) >= 60 * SETTINGS.speed
    measured = [due for due in resnet.due_s if due >= 0]
    spanned = 60 * SETTINGS.speed
    expected = bundled().cut(resnet.from_s, spanned).mean_rps() * 6 * 60
    assert len(measured) == pytest.approx(expected, rel=0.15)


def test_a_file_of_the_users_is_offered_to_every_service_as_it_is():
    flat = Trace((0.0,), (10.0,), 60.0)
    bert, resnet = both(flat, whole=True)
    assert (bert.factor, bert.from_s, resnet.factor, resnet.from_s) == (1.0, 0.0, 1.0, 0.0)
    assert bert.speed == 1.0
    assert sum(0 <= due < 60 for due in bert.due_s) == pytest.approx(600, rel=0.15)
    assert bert.due_s != resnet.due_s


def test_the_lead_in_comes_before_second_zero():
    bert, _ = both()
    assert -10 <= bert.due_s[0] < 0
    plan = plan_of(bert, "http://gateway", SETTINGS)
    assert plan.due_s[0] == pytest.approx(bert.due_s[0] + 10)


def test_a_request_is_one_batch_for_the_gateways_host():
    plan = plan_of(both()[0], "http://gateway", SETTINGS)
    assert plan.url == "http://gateway/v1/models/bert:predict"
    assert plan.host == "bert.has-demo"
    assert len(json.loads(plan.body)["instances"]) == 8


@pytest.mark.parametrize(
    ("container", "name"),
    [
        ({"args": ["--model", "resnet50", "--name", "net"]}, "net"),
        ({"args": ["--model=resnet50"]}, "resnet50"),
        ({"command": ["server", "--name=x"]}, "x"),
        ({}, "isvc"),
    ],
)
def test_the_models_name_in_urls_is_what_its_server_was_told(container, name):
    isvc = {"metadata": {"name": "isvc"}, "spec": {"predictor": {"containers": [container]}}}
    assert model_in_url(isvc) == name


def test_a_load_with_nothing_due_in_the_run_is_refused():
    late = Trace((0.0, 50.0), (0.0, 5.0), 1000.0)
    assert all(load.offers for load in both(late, whole=True))
    with pytest.raises(TraceError, match="nothing would be offered in the 60 s measured"):
        both(Trace((0.0, 100.0), (0.0, 5.0), 1000.0), whole=True)


def test_a_service_that_was_offered_nothing_is_not_blamed_for_answering_nothing():
    asked, silent, idle = "a/asked", "a/silent", "a/idle"
    loads = [
        Load(replace(RESNET, name=name), "m", Trace((0.0,), (1.0,), 60.0), 1.0, 1.0, 0.0, due)
        for name, due in ((asked, (1.0,)), (silent, (1.0,)), (idle, (-3.0,)))
    ]
    outcomes = {asked: [Outcome(1.0, 1.0, 5.0, 200)], silent: [Outcome(1.0, 1.0, 5.0, 503)]}
    outcomes[idle] = [Outcome(-3.0, -3.0, 5.0, 200)]
    assert run.silent(loads, outcomes, 60.0) == ["a/silent answered nothing"]
