"""The namespace command says how it is used; its behaviour is tested for real elsewhere."""

from kserve_has.localstack import namespace, parts
from kserve_has.localstack.__main__ import main as localstack
from kserve_has.localstack.progress import shown


def test_without_a_command_it_says_how_to_use_it(capsys):
    assert 2 == namespace.main(["--"])
    assert "usage: python -m kserve_has.localstack.namespace -- COMMAND" in capsys.readouterr().err


def test_a_refused_namespace_is_explained(capsys, monkeypatch):
    monkeypatch.setattr(namespace.shutil, "which", lambda _: None)
    assert 1 == namespace.main(["--", "true"])
    assert "unshare (package util-linux)" in capsys.readouterr().err


def test_a_stack_that_cannot_start_is_one_line_and_status_1(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("KSERVE_HAS_PARTS_DIR", str(tmp_path))
    assert 1 == localstack(["parts"])
    assert capsys.readouterr().err.startswith("kserve-has local stack: $KSERVE_HAS_PARTS_DIR lacks")


def test_a_refused_namespace_is_told_before_anything_is_built(capsys, monkeypatch):
    built = []
    monkeypatch.setattr(namespace, "inside", lambda: False)
    monkeypatch.setattr(namespace, "why_unavailable", lambda: "no namespaces here")
    monkeypatch.setattr(parts, "ensure", lambda *_args, **_more: built.append("parts"))
    assert 1 == localstack(["up", "--level", "kserve", "--", "true"])
    assert "no namespaces here" in capsys.readouterr().err
    assert built == []


def test_without_a_terminal_each_step_is_a_line(capsys):
    with shown("parts") as report:
        report("one [of 2]")
        report("two")
    assert "parts: one [of 2]\nparts: two\n" == capsys.readouterr().err
