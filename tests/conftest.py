"""Runs tests of the local stack inside its namespace and gives them one shared stack.

A plain ``pytest`` re-executes itself there, unless only tests were named that need no stack.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kserve_has.localstack import namespace, parts
from kserve_has.localstack.progress import shown
from kserve_has.localstack.stack import LocalStack, StackOptions

TESTS = Path(__file__).parent
LEVELS = ("local_stack", "kserve", "full_stack")
WITHOUT_STACK = ("unit", "property", "golden", "native", "gpu")


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Start again inside the namespace when tests of the stack may be among the chosen ones."""
    option = config.option
    if option.help or option.version or option.collectonly or "not stack" in option.markexpr:
        return None
    if namespace.inside() or not _may_need_stack(config) or namespace.why_unavailable():
        return None
    # There is no network inside: whatever must be fetched is fetched before.
    with shown("parts") as report:
        parts.ensure(report, native=False)
    command = [sys.executable, "-m", "pytest", *config.invocation_params.args]
    return namespace.run(command)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what shares the stack last, lower levels first: others use the same ports before."""

    def level(item: pytest.Item) -> int:
        used = getattr(item, "fixturenames", ())
        return max((i for i, name in enumerate(LEVELS) if name in used), default=-1)

    items.sort(key=level)


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The one stack of the session, at the level that was needed most so far."""
    if not namespace.inside():
        pytest.skip(namespace.why_unavailable() or "started outside the stack's namespace")
    out = tmp_path_factory.mktemp("local-stack")
    with LocalStack.up(StackOptions(level="control-plane", out=out)) as stack:
        yield stack


@pytest.fixture(scope="session")
def control_plane(local_stack: LocalStack) -> LocalStack:
    """A real API server, controller-manager and scheduler."""
    return local_stack


@pytest.fixture(scope="session")
def kserve(local_stack: LocalStack) -> LocalStack:
    """A control plane with KServe's controller and webhooks."""
    local_stack.raise_to("kserve")
    return local_stack


@pytest.fixture(scope="session")
def full_stack(local_stack: LocalStack) -> LocalStack:
    """Everything: nodes with emulated GPUs, webhook, autoscaler, gateway, Prometheus."""
    local_stack.raise_to("full")
    return local_stack


def _may_need_stack(config: pytest.Config) -> bool:
    named = [Path(argument.split("::")[0]).resolve() for argument in config.args]
    quick = [TESTS / name for name in WITHOUT_STACK]
    return not all(any(path.is_relative_to(q) for q in quick) for path in named)
