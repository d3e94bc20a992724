"""What users may write, key by key: one table from which checks, messages and docs are made."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from kserve_has import contract
from kserve_has.slo import parse_percentile
from kserve_has.units import parse_bytes, parse_duration_ms, parse_whole

SHORTEST_OBJECTIVE_MS: Final = 1.0
LONGEST_OBJECTIVE_MS: Final = 60_000.0
SMALLEST_MEMORY: Final = 256 * 2**20
LARGEST_MEMORY: Final = 2**40
MOST_SMS: Final = 1024
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

MACHINE_ANNOTATIONS: Final = (
    contract.INJECTED,
    contract.GPU_UUID,
    contract.SM_GROUPS,
    contract.SM_PARTITION,
    contract.QUOTA,
    contract.MEMORY_LIMIT,
    contract.EPOCH,
    contract.CAPACITY_RPS,
    contract.IN_FORCE,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """What one user annotation accepts.

    Attributes:
        accepted: the range in words.
        example: a value that is accepted.
        check: raises ValueError for a value that is not.
        default: what holds when the annotation is absent, "" when it must be there.
        meaning: one sentence for the reference page.

    """

    accepted: str
    example: str
    check: Callable[[str], object]
    default: str
    meaning: str


def _duration(text: str) -> float:
    value = parse_duration_ms(text)
    if not SHORTEST_OBJECTIVE_MS <= value <= LONGEST_OBJECTIVE_MS:
        raise ValueError(f"{text!r} is outside 1ms..60s")
    return value


def _memory(text: str) -> int:
    value = parse_bytes(text)
    if not SMALLEST_MEMORY <= value <= LARGEST_MEMORY:
        raise ValueError(f"{text!r} is outside 256Mi..1Ti")
    return value


def _model(text: str) -> str:
    if not _MODEL.fullmatch(text):
        raise ValueError(f"{text!r} is not a model name")
    return text


def _isolation(text: str) -> str:
    if text not in ("shared", "exclusive"):
        raise ValueError(f"{text!r} is not a kind of isolation")
    return text


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


def _whole(low: int, high: int) -> Callable[[str], int]:
    return lambda text: parse_whole(text, low, high)


RULES: Final[Mapping[str, Rule]] = {
    contract.OBJECTIVE_LATENCY: Rule(
        "a duration in 1ms..60s with unit us, ms, s or m",
        "80ms",
        _duration,
        "",
        "Bound on the time from the arrival at the gateway to the last byte. "
        "Writing it opts the service in.",
    ),
    contract.OBJECTIVE_PERCENTILE: Rule(
        "p50..p99",
        "p95",
        parse_percentile,
        "p95",
        "Share of all offered requests that must meet the bound.",
    ),
    contract.SERVED_MODEL: Rule(
        "1..63 letters, digits, dots, dashes or underscores",
        "resnet50",
        _model,
        "",
        "Name of the network in the latency model.",
    ),
    contract.BATCH: Rule(
        "a whole number in 1..128", "8", _whole(1, 128), "1", "Instances a usual request carries."
    ),
    contract.CONCURRENCY: Rule(
        "a whole number in 1..64",
        "2",
        _whole(1, 64),
        "1",
        "Requests that one replica works on at once; more wait at the gateway.",
    ),
    contract.GPU_MEMORY: Rule(
        "a size in 256Mi..1Ti with suffix k, M, G, T, Ki, Mi, Gi or Ti",
        "4Gi",
        _memory,
        "",
        "Device memory that one replica may hold; more is answered with CUDA's out-of-memory.",
    ),
    contract.MIN_SM_PARTITION: Rule(
        "a whole number in 1..1024",
        "16",
        _whole(1, MOST_SMS),
        "one SM group",
        "SMs that a replica never falls below; rounded up to whole SM groups.",
    ),
    contract.MAX_SM_PARTITION: Rule(
        "a whole number in 1..1024",
        "64",
        _whole(1, MOST_SMS),
        "the whole GPU",
        "SMs that a replica never exceeds; rounded down to whole SM groups.",
    ),
    contract.ISOLATION: Rule(
        "shared or exclusive",
        "shared",
        _isolation,
        "shared",
        "exclusive keeps the replica out of the fault domain that replicas under MPS share.",
    ),
    contract.BURST: Rule(
        "true or false",
        "true",
        _flag,
        "false",
        "true lets a replica use, beyond its quota, GPU time that no other replica wants; it is then "
        "faster than asked for, and never slower than without.",
    ),
    contract.PRIORITY: Rule(
        "a whole number in 0..1000",
        "100",
        _whole(0, 1000),
        "100",
        "When GPUs run short, services with a lower number lose first.",
    ),
}

REQUIRED: Final = tuple(key for key, rule in RULES.items() if not rule.default)


def ours(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations under our prefix."""
    return {key: text for key, text in annotations.items() if key.startswith(contract.PREFIX)}


def check_annotations(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """Return one sentence per problem of a user's annotations; none when they can be accepted.

    Each names the key, the value found, what is accepted and an example.
    """
    mine = ours(annotations)
    if not mine:
        return ()
    problems = [_unknown(key, text) for key, text in sorted(mine.items()) if key not in RULES]
    for key, rule in RULES.items():
        if key in mine:
            problem = _wrong(key, mine[key], rule)
        elif key in REQUIRED:
            problem = f"{key} is missing; it takes {rule.accepted}, for example {rule.example}"
        else:
            problem = None
        if problem:
            problems.append(problem)
    return (*problems, *_across(mine))


def _wrong(key: str, text: str, rule: Rule) -> str | None:
    try:
        rule.check(text)
    except ValueError:
        return f"{key} is {text!r}; it takes {rule.accepted}, for example {rule.example}"
    return None


def _unknown(key: str, text: str) -> str:
    if key in MACHINE_ANNOTATIONS:
        return (
            f"{key} is {text!r}; it is written by kserve-has on pods only, where it changes "
            "while they run; remove it from the InferenceService"
        )
    # The prefix, which all have, would make everything look alike.
    names = [known.removeprefix(contract.PREFIX) for known in RULES]
    near = difflib.get_close_matches(key.removeprefix(contract.PREFIX), names, n=1)
    hint = f"did you mean {contract.PREFIX}{near[0]}?" if near else f"known are {', '.join(RULES)}"
    return f"{key} is not an annotation of kserve-has (value {text!r}); {hint}"


def _across(mine: Mapping[str, str]) -> tuple[str, ...]:
    low, high = (
        mine.get(key, "") for key in (contract.MIN_SM_PARTITION, contract.MAX_SM_PARTITION)
    )
    try:
        wrong = _whole(1, MOST_SMS)(low) > _whole(1, MOST_SMS)(high)
    except ValueError:
        return ()
    if not wrong:
        return ()
    problem = (
        f"{contract.MIN_SM_PARTITION} is {low!r}, above {contract.MAX_SM_PARTITION} {high!r}; "
        "make the maximum at least the minimum"
    )
    return (problem,)
