"""The settings reference is what the declarations say, and covers every settings class."""

import importlib
import inspect
import pkgutil

import kserve_has.config
from kserve_has.cli.__main__ import main
from kserve_has.config.reference import PAGES, markdown
from kserve_has.localstack.layout import repository


def test_the_page_is_what_the_command_prints(capsys):
    assert main(["settings"]) == 0
    page = (repository() / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == page, "run: kserve-has settings > docs/reference/settings.md"


def test_every_settings_class_has_its_section():
    declared = set()
    for module in pkgutil.iter_modules(kserve_has.config.__path__, "kserve_has.config."):
        if module.name.endswith("__main__"):
            continue
        for name, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if name.endswith("Settings") and cls.__module__ == module.name:
                declared.add(cls)
    assert declared == {cls for _, _, cls in PAGES}


def test_every_row_has_a_reason():
    rows = [line for line in markdown().splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    assert all(row.rstrip(" |").rpartition("|")[2].strip() for row in rows)
