import re
from pathlib import Path

import pytest

from kserve_has import contract
from webhook.annotations import MACHINE_ANNOTATIONS, REQUIRED, RULES, check_annotations

GOOD = {
    contract.OBJECTIVE_LATENCY: "100ms",
    contract.SERVED_MODEL: "resnet50",
    contract.GPU_MEMORY: "4Gi",
}
REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "annotations.md"


def test_the_least_that_opts_a_service_in_is_accepted():
    assert () == check_annotations(GOOD)


def test_annotations_of_others_are_nobodys_business():
    assert () == check_annotations({"example.com/batch": "many"})


def test_every_user_annotation_has_a_rule_and_nothing_else_has():
    assert set(contract.USER_ANNOTATIONS) == set(RULES)
    assert not set(RULES) & set(MACHINE_ANNOTATIONS)


def test_every_annotation_of_the_contract_is_a_users_or_a_machines():
    in_contract = {
        value
        for name, value in vars(contract).items()
        if isinstance(value, str) and re.fullmatch(r"kserve-has/[a-z-]+", value)
        if name not in ("PREFIX", "SCHEDULING_GATE") and not name.startswith("NODE_")
    }
    assert in_contract == set(RULES) | set(MACHINE_ANNOTATIONS)


@pytest.mark.parametrize("key", RULES)
def test_the_example_of_a_rule_is_accepted(key):
    assert () == check_annotations({**GOOD, key: RULES[key].example})


@pytest.mark.parametrize(
    ("key", "lowest", "highest", "below", "above"),
    [
        (contract.OBJECTIVE_LATENCY, "1ms", "60s", "999us", "61s"),
        (contract.OBJECTIVE_PERCENTILE, "p50", "p99", "p49", "p100"),
        (contract.BATCH, "1", "128", "0", "129"),
        (contract.CONCURRENCY, "1", "64", "0", "65"),
        (contract.GPU_MEMORY, "256Mi", "1Ti", "255Mi", "1025Gi"),
        (contract.MIN_SM_PARTITION, "1", "1024", "0", "1025"),
        (contract.MAX_SM_PARTITION, "1", "1024", "0", "1025"),
        (contract.PRIORITY, "0", "1000", "-1", "1001"),
        (contract.SERVED_MODEL, "a", "b" * 63, "", "b" * 64),
    ],
)
def test_a_range_includes_its_ends_and_nothing_beyond(key, lowest, highest, below, above):
    for value in (lowest, highest):
        assert () == check_annotations({**GOOD, key: value})
    for value in (below, above):
        (problem,) = check_annotations({**GOOD, key: value})
        rule = RULES[key]
        assert (
            problem == f"{key} is {value!r}; it takes {rule.accepted}, for example {rule.example}"
        )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (contract.OBJECTIVE_LATENCY, "fast"),
        (contract.OBJECTIVE_PERCENTILE, "95"),
        (contract.BATCH, "8.5"),
        (contract.GPU_MEMORY, "4 GB"),
        (contract.ISOLATION, "private"),
        (contract.SERVED_MODEL, "../etc/passwd"),
    ],
)
def test_a_malformed_value_is_named_with_what_is_accepted(key, value):
    (problem,) = check_annotations({**GOOD, key: value})
    assert problem.startswith(f"{key} is {value!r}; it takes {RULES[key].accepted}")


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_required_annotation_is_named(key):
    rest = {name: value for name, value in GOOD.items() if name != key}
    (problem,) = check_annotations(rest)
    assert problem.startswith(f"{key} is missing")


def test_a_misspelt_key_is_answered_with_the_nearest_one():
    (problem,) = check_annotations({**GOOD, "kserve-has/objective-latncy": "1ms"})
    assert problem.endswith("did you mean kserve-has/objective-latency?")


def test_a_key_like_no_other_is_answered_with_all_of_them():
    (problem,) = check_annotations({**GOOD, "kserve-has/xyz": "1"})
    assert all(key in problem for key in RULES)


@pytest.mark.parametrize("key", MACHINE_ANNOTATIONS)
def test_a_machines_annotation_is_refused_on_a_service(key):
    (problem,) = check_annotations({**GOOD, key: "1"})
    assert problem.startswith(f"{key} is '1'; it is written by kserve-has on pods only")


def test_a_partition_must_not_begin_above_its_end():
    bounds = {contract.MIN_SM_PARTITION: "64", contract.MAX_SM_PARTITION: "32"}
    (problem,) = check_annotations({**GOOD, **bounds})
    assert "min-sm-partition is '64', above" in problem
    assert "max-sm-partition '32'" in problem
    equal = {contract.MIN_SM_PARTITION: "32", contract.MAX_SM_PARTITION: "32"}
    assert () == check_annotations({**GOOD, **equal})


def test_all_problems_are_told_at_once():
    wrong = {
        contract.OBJECTIVE_LATENCY: "fast",
        contract.BATCH: "500",
        contract.QUOTA: "40",
        "kserve-has/gpu-memry": "4Gi",
    }
    told = check_annotations(wrong)
    # Four wrong ones, and the two that are missing.
    assert 6 == len(told)


def test_the_reference_page_says_what_the_rules_say():
    page = REFERENCE.read_text(encoding="utf-8")
    for key, rule in RULES.items():
        default = rule.default or "required"
        row = f"| `{key}` | {rule.accepted} | {default} | `{rule.example}` | {rule.meaning} |"
        assert row in page
    assert all(f"`{key}`" in page for key in MACHINE_ANNOTATIONS)
