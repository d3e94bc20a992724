import signal

import pytest

from kserve_has.cli.__main__ import build_parser, main
from kserve_has.config.demo import DemoSettings
from kserve_has.demo.command import _again, settings_of
from kserve_has.localstack import namespace, parts


@pytest.fixture(autouse=True)
def outside(monkeypatch):
    """As outside of the stack's namespaces, where they can be made, and nothing is ever built."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr(namespace, "inside", lambda: False)
    monkeypatch.setattr(namespace, "why_unavailable", lambda: None)
    monkeypatch.setattr(parts, "ensure", lambda _: pytest.fail("started to build"))
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def parsed(*words):
    return build_parser().parse_args(["demo", *words])


def test_settings_come_from_the_command_line():
    settings = settings_of(
        parsed("--seconds", "60", "--set", "resnet50_factor=8", "--set", "seed=3")
    )
    assert (settings.seconds, settings.resnet50_factor, settings.seed) == (60.0, 8.0, 3)
    assert settings_of(parsed()) == DemoSettings()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "nonsense=1"), "nonsense: no such setting"),
        (("--set", "seed=x"), "--set seed=x: write KEY=NUMBER"),
        (("--seconds", "1"), "seconds: 1.0 is outside 10..3600 s"),
        (("--load", "none.csv"), "none.csv: cannot be read"),
        (("--samples", "none"), "--samples none: no such folder"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(words, message, capsys):
    assert main(["demo", *words]) == 1
    assert message in capsys.readouterr().err


def test_the_process_inside_gets_the_same_command_line(tmp_path):
    words = ["--out", str(tmp_path), "--seconds", "60.0", "--chaos", "--no-live"]
    words += ["--set", "seed=3", "--load", "x.csv"]
    args = parsed(*words)
    again = build_parser().parse_args(_again(args))
    assert vars(again) == vars(args)


def test_without_a_folder_one_named_by_the_time_is_used():
    args = build_parser().parse_args(_again(parsed()))
    assert args.out.is_absolute()
    assert args.out.parent.name == "demo-out"


def test_a_load_that_offers_nothing_in_the_run_is_refused_before_anything_starts(tmp_path, capsys):
    late = tmp_path / "late.csv"
    late.write_text("t_s,rps\n0,0\n600,50\n700,0\n")
    assert main(["demo", "--seconds", "60", "--load", str(late)]) == 1
    assert "late.csv: offers nothing in the first 60 s" in capsys.readouterr().err


def test_refused_namespaces_are_told_before_anything_is_built(monkeypatch, capsys):
    monkeypatch.setattr(namespace, "why_unavailable", lambda: "no namespaces here")
    assert main(["demo"]) == 1
    assert "no namespaces here" in capsys.readouterr().err


def test_sigterm_breaks_a_build_off_in_order(monkeypatch):
    def ensure(_report):
        assert callable(signal.getsignal(signal.SIGTERM))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(parts, "ensure", ensure)
    assert main(["demo"]) == 130
