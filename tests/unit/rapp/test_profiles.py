import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from autoscaler.__main__ import latency_model
from kserve_has.config.controller import ControllerSettings
from kserve_has.errors import LatencyModelError
from kserve_has.rapp.grid import Grid
from kserve_has.rapp.profiled import Served, from_profiles, load_profiles
from kserve_has.rapp.profiles import drivers_differ, read, read_folder, write

GPU = "NVIDIA H200"


def test_a_profile_survives_its_file(profile, tmp_path):
    assert profile == read(write(profile, tmp_path))


def spoil(profile, tmp_path, **changes):
    path = write(profile, tmp_path)
    document = json.loads(path.read_text())
    for key, value in changes.items():
        target = document["points"][0] if key in document["points"][0] else document
        target[key] = value
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"p50_ms": float("nan")}, "p50_ms nan is no positive number", id="NaN"),
        pytest.param({"p50_ms": -1.0}, "p50_ms -1.0 is no positive number", id="negative"),
        pytest.param({"batch": 0}, "batch 0 is no positive number", id="batch 0"),
        pytest.param({"sm": 140}, "140 SMs, the GPU has 132", id="more SMs than the GPU"),
        pytest.param({"quota": 130}, "quota 130 is outside", id="quota"),
        pytest.param({"p10_ms": 1e9}, "out of order", id="order"),
        pytest.param({"points": []}, "there are no points", id="empty"),
        pytest.param({"card": {"gpu": GPU}}, "the card lacks driver", id="card"),
        pytest.param({"format": "2"}, "expected format", id="format"),
    ],
)
def test_a_bad_profile_is_refused_and_says_what_to_run(profile, tmp_path, changes, words):
    path = spoil(profile, tmp_path, **changes)
    with pytest.raises(LatencyModelError, match=words) as caught:
        read(path)
    assert "kserve-has profile --model" in str(caught.value)


def test_every_problem_of_every_file_is_named_at_once(profile, tmp_path):
    spoil(profile, tmp_path, batch=0, p50_ms=float("inf"))
    (tmp_path / "b.profile.json").write_text("{")
    with pytest.raises(LatencyModelError) as caught:
        read_folder(tmp_path)
    for words in ("batch 0", "p50_ms inf", "b.profile.json"):
        assert words in str(caught.value)


def test_a_folder_without_profiles_says_how_to_make_one(tmp_path):
    with pytest.raises(LatencyModelError, match="kserve-has profile --model"):
        read_folder(tmp_path)


def test_a_profile_of_another_driver_is_named(profile):
    assert [] == drivers_differ([profile], "580.159.04")
    (problem,) = drivers_differ([profile], "590.1")
    for words in ("580.159.04", "590.1", "kserve-has profile --model tiny"):
        assert words in problem


@pytest.fixture
def model(profile, tmp_path):
    write(profile, tmp_path)
    return load_profiles(tmp_path)


def test_the_autoscalers_question_is_answered_from_profiles(model, profile):
    for point in profile.points:
        answer = model.predict("tiny", GPU, point.batch, point.sm, 100)
        assert pytest.approx(point.p50_ms, rel=0.05) == answer.mean_ms
        assert answer.mean_ms < answer.upper_ms
    assert model.knows("tiny", GPU)
    assert not model.knows("tiny", "NVIDIA A100")
    assert {model: 1}[model] == 1


def test_one_question_and_a_grid_agree(model):
    mean, upper, _ = model.predict_grid("tiny", GPU, Grid.of([2], [48], [40]))
    one = model.predict("tiny", GPU, 2, 48, 40)
    np.testing.assert_allclose([one.mean_ms, one.upper_ms], [mean[0], upper[0]])


def test_a_quota_pauses_requests_of_many_launches_only(profile):
    graphs = from_profiles([profile])
    whole = graphs.predict("tiny", GPU, 16, 8, 100)
    assert graphs.predict("tiny", GPU, 16, 8, 15).mean_ms == whole.mean_ms
    learnt = graphs.with_network("tiny", GPU, graphs.served("tiny", GPU).network)
    assert learnt.predict("tiny", GPU, 16, 8, 15).mean_ms == whole.mean_ms
    eager = Served(graphs.served("tiny", GPU).network, 132)
    paused = eager.predict(16, 8, 15)
    assert paused.mean_ms > 1.5 * whole.mean_ms
    assert paused.upper_ms == graphs.predict("tiny", GPU, 16, 8, 15).upper_ms


@pytest.mark.parametrize(
    ("question", "words"),
    [
        pytest.param(("huge", GPU, 1, 8, 100), "known: tiny on NVIDIA H200", id="model"),
        pytest.param(("tiny", "NVIDIA A100", 1, 8, 100), "run on that GPU: kserve-has", id="GPU"),
        pytest.param(("tiny", GPU, 0, 8, 100), "batch 0 must be at least 1", id="batch"),
        pytest.param(("tiny", GPU, 1, 133, 100), "133 SMs are outside 1..132", id="SMs"),
        pytest.param(("tiny", GPU, 1, 8, 0), "quota 0 is outside 1..100", id="quota"),
    ],
)
def test_an_impossible_question_says_what_is_known_and_what_to_run(model, question, words):
    with pytest.raises(LatencyModelError, match=words):
        model.predict(*question)


def test_all_that_is_wrong_with_a_question_is_said_at_once(model):
    with pytest.raises(LatencyModelError, match=r"batch 0.*133 SMs.*quota 101"):
        model.predict("tiny", GPU, 0, 133, 101)


def test_two_profiles_of_one_model_are_refused(profile):
    with pytest.raises(LatencyModelError, match="two profiles; keep one"):
        from_profiles([profile, replace(profile)])


def test_a_way_of_running_without_a_prior_is_refused(profile):
    with pytest.raises(LatencyModelError, match="no prior for fp8-graph; known: bf16-graph"):
        from_profiles([replace(profile, dtype="fp8")])


def test_a_setting_chooses_profiles_or_the_packaged_table(profile, tmp_path):
    write(profile, tmp_path)
    chosen = latency_model(ControllerSettings(latency_profiles=str(tmp_path)))
    assert chosen.knows("tiny", GPU)
    assert latency_model(ControllerSettings()).knows("resnet50", GPU)


def test_neither_the_autoscaler_nor_the_command_line_imports_torch():
    code = "import sys, autoscaler.__main__, kserve_has.cli.__main__; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()


def test_an_interrupted_profile_is_only_continued(profile, tmp_path):
    path = write(replace(profile, card={**profile.card, "complete": False}), tmp_path)
    with pytest.raises(LatencyModelError, match="interrupted; the same command continues it"):
        read(path)
    assert profile.points == read(path, unfinished=True).points


def test_another_network_in_one_place_is_another_part_there_and_the_same_elsewhere(profile):
    other = replace(profile, model="small")
    model = from_profiles([profile, other])
    place = ("tiny", "NVIDIA H200")
    part = model.part(*place)
    assert model.part(*place) is part
    learnt = model.with_network(*place, part.network.observed(1, 8, 9.0))
    assert learnt.part(*place) is not part
    assert learnt.part("small", "NVIDIA H200") is model.part("small", "NVIDIA H200")
    slower = learnt.predict(*place, 1, 8, 100).mean_ms
    assert model.predict(*place, 1, 8, 100).mean_ms < slower < 9.0
