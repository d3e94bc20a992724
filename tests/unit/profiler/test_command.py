import pytest

from kserve_has.cli.__main__ import main


def test_a_machine_without_a_gpu_is_told_so(capsys, tmp_path):
    torch = pytest.importorskip("torch", reason="profiling needs torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    command = ["profile", "--model", "resnet18", "--out", str(tmp_path)]
    assert 1 == main(command)
    assert "needs a real one" in capsys.readouterr().err


def test_an_unknown_network_names_the_known_ones(capsys, tmp_path):
    pytest.importorskip("torch", reason="profiling needs torch")
    assert 1 == main(["profile", "--model", "nonesuch", "--out", str(tmp_path)])
    assert "resnet50" in capsys.readouterr().err


def test_a_way_of_running_without_a_prior_is_refused_before_measuring(capsys, tmp_path):
    pytest.importorskip("torch", reason="profiling needs torch")
    command = ["profile", "--model", "resnet18", "--dtype", "bf16", "--out", str(tmp_path)]
    assert 1 == main(command)
    assert "no prior for bf16-eager; known: bf16-graph, fp32-eager" in capsys.readouterr().err
