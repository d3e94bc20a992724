import importlib.metadata

import pytest

from kserve_has.cli.__main__ import PLUGINS, build_parser, main, plugins
from kserve_has.cli.status import default_kubeconfig
from kserve_has.errors import HasError


def add_echo(subparsers):
    parser = subparsers.add_parser("echo", help="say it again")
    parser.add_argument("word")
    parser.set_defaults(run=lambda args: print(args.word) or 0)


def add_failing(subparsers):
    def fail(_args):
        raise HasError("it broke; mend it")

    subparsers.add_parser("fail").set_defaults(run=fail)


def use(monkeypatch, *adders):
    class Entry:
        def __init__(self, add):
            self.name = add.__name__
            self.load = lambda: add

    entries = [Entry(add) for add in adders]
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: entries if group == PLUGINS else []
    )


def test_other_packages_add_commands(monkeypatch, capsys):
    use(monkeypatch, add_echo)
    assert main(["echo", "hello"]) == 0
    assert capsys.readouterr().out == "hello\n"


def test_an_error_of_ours_is_one_sentence_and_status_1(monkeypatch, capsys):
    use(monkeypatch, add_failing)
    assert main(["fail"]) == 1
    assert capsys.readouterr().err == "kserve-has: it broke; mend it\n"


def test_a_plugin_that_cannot_be_imported_leaves_the_others(monkeypatch, capsys):
    class Broken:
        name = "broken"

        def load(self):
            raise ImportError("no torch")

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [Broken()])
    assert plugins() == []
    assert "no command broken: no torch" in capsys.readouterr().err


def test_version_prints_the_installed_version(monkeypatch, capsys):
    use(monkeypatch)
    assert main(["version"]) == 0
    assert capsys.readouterr().out.strip() == importlib.metadata.version("kserve-has")


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as exit_status:
        build_parser([add_echo]).parse_args(["--help"])
    assert exit_status.value.code == 0
    text = capsys.readouterr().out
    for command in ("demo", "status", "version", "echo"):
        assert command in text


def test_the_kubeconfig_is_the_one_kubectl_would_use(tmp_path):
    assert default_kubeconfig({}, tmp_path) is None
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").touch()
    assert default_kubeconfig({}, tmp_path) == tmp_path / ".kube" / "config"
    named = str(tmp_path / "a")
    assert default_kubeconfig({"KUBECONFIG": f"{named}:/b"}, tmp_path) == tmp_path / "a"
