"""How a setting is declared, read and checked.

A component's settings are a frozen dataclass whose fields are made by :func:`setting`. The
declaration carries unit, range and the reason of the default, so the reference page and the
error messages are made from the same words.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import SettingsError

T = TypeVar("T")

_KEY = "kserve-has-setting"


@dataclass(frozen=True, slots=True)
class _Declared:
    unit: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Document:
    """One row of the settings reference."""

    name: str
    default: str
    unit: str
    accepted: str
    why: str


def setting(
    default: T,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    why: str,
) -> T:
    """Declare one setting: its default, unit, inclusive range or choices, and the reason."""
    declared = _Declared(unit, low, high, choices, why)
    return dataclasses.field(default=default, metadata={_KEY: declared})


def load(cls: type[T], mapping: Mapping[str, object]) -> T:
    """Return ``cls`` with the values of ``mapping`` over its defaults.

    Raises:
        SettingsError: one message with every unknown key, wrong type and value out of range.

    """
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls))}
    hints = typing.get_type_hints(cls)
    problems = [
        f"{key}: no such setting; known are {', '.join(sorted(fields))}"
        for key in mapping
        if key not in fields
    ]
    values: dict[str, object] = {}
    for name, field in fields.items():
        if name not in mapping:
            continue
        value, problem = _checked(name, mapping[name], hints[name], field.metadata[_KEY])
        if problem:
            problems.append(problem)
        else:
            values[name] = value
    if problems:
        raise SettingsError("; ".join(problems))
    return cls(**values)


def document(cls: type[Any]) -> tuple[Document, ...]:
    """Return the reference rows of a settings class, in order of declaration."""
    rows = []
    for field in dataclasses.fields(cls):
        declared: _Declared = field.metadata[_KEY]
        accepted = _accepted(declared)
        rows.append(Document(field.name, str(field.default), declared.unit, accepted, declared.why))
    return tuple(rows)


def _accepted(declared: _Declared) -> str:
    if declared.choices:
        return ", ".join(declared.choices)
    if declared.low is None and declared.high is None:
        return "any"
    low = "" if declared.low is None else f"{declared.low:g}"
    high = "" if declared.high is None else f"{declared.high:g}"
    return f"{low}..{high}"


def _checked(
    name: str, raw: object, hint: object, declared: _Declared
) -> tuple[object, str | None]:
    value = float(raw) if hint is float and type(raw) is int else raw
    if type(value) is not hint:
        expected = getattr(hint, "__name__", str(hint))
        return None, f"{name}: expected {expected}, found {raw!r}"
    if declared.choices and value not in declared.choices:
        return None, f"{name}: {raw!r} is none of {', '.join(declared.choices)}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        below = declared.low is not None and value < declared.low
        above = declared.high is not None and value > declared.high
        if below or above or math.isnan(value):
            unit = f" {declared.unit}" if declared.unit else ""
            return None, f"{name}: {raw!r} is outside {_accepted(declared)}{unit}"
    return value, None
