import pytest

from kserve_has.cli.__main__ import build_parser, main
from kserve_has.config.demo import DemoSettings
from kserve_has.demo.command import _again, settings_of


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
