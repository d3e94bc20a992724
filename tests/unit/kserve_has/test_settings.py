from dataclasses import dataclass

import pytest

from kserve_has.config import document, load, setting
from kserve_has.errors import SettingsError


@dataclass(frozen=True)
class Example:
    """An example."""

    tick_s: float = setting(1.0, unit="s", low=0.1, high=60, why="one scrape")
    mode: str = setting("calm", choices=("calm", "busy"), why="the usual case")
    enabled: bool = setting(True, why="on unless asked")


def test_values_are_laid_over_the_defaults():
    assert Example(tick_s=2.0) == load(Example, {"tick_s": 2})


def test_all_problems_are_told_at_once():
    with pytest.raises(SettingsError) as told:
        load(Example, {"tick_s": 0, "mode": "x", "enabled": 1, "tock": 1})
    message = str(told.value)
    assert "tick_s: 0 is outside 0.1..60 s" in message
    assert "mode: 'x' is none of calm, busy" in message
    assert "enabled: expected bool, found 1" in message
    assert "tock: no such setting" in message


def test_the_reference_is_made_from_the_declarations():
    assert [("tick_s", "s", "0.1..60"), ("mode", "", "calm, busy"), ("enabled", "", "any")] == [
        (row.name, row.unit, row.accepted) for row in document(Example)
    ]
