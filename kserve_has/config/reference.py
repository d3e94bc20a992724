"""The settings reference, made from the declarations."""

from __future__ import annotations

from typing import Any, Final

from .agent import AgentSettings
from .controller import ControllerSettings
from .demo import DemoSettings
from .fields import document
from .gateway import GatewaySettings
from .localstack import LocalStackSettings
from .policy import PolicySettings
from .simulator import SimulatorSettings
from .webhook import WebhookSettings

# Heading, where the values are written, class.
PAGES: Final[tuple[tuple[str, str, type[Any]], ...]] = (
    ("Policy", "`autoscaler.yaml`, section `policy`", PolicySettings),
    ("Controller", "`autoscaler.yaml`, section `controller`", ControllerSettings),
    ("Webhook", "`webhook.yaml`", WebhookSettings),
    ("Node agent", "`agent.yaml`", AgentSettings),
    ("Gateway", "`gateway.yaml`", GatewaySettings),
    ("Simulator", "`--config FILE`, section `simulator`", SimulatorSettings),
    ("Demo", "`kserve-has demo --set KEY=VALUE`", DemoSettings),
    ("Local stack", "`StackOptions.settings` (tests)", LocalStackSettings),
)

_HEAD: Final = """\
# Settings

Made by `kserve-has settings`. In a cluster the files are keys of the ConfigMap `kserve-has-config`
in the namespace `kserve-has`; every key is optional. An unknown key, a wrong type or a value out of
range is refused at start, all of them in one message.
"""


def markdown() -> str:
    """Return the page ``docs/reference/settings.md``."""
    return _HEAD + "".join(_section(*page) for page in PAGES)


def _section(title: str, where: str, cls: type[Any]) -> str:
    about = (cls.__doc__ or "").splitlines()[0]
    lines = [
        f"\n## {title}\n",
        f"{about} Written in {where}.\n",
        "| setting | default | unit | accepts | why |",
        "|---|---|---|---|---|",
    ]
    for row in document(cls):
        cells = (f"`{row.name}`", f"`{row.default}`", row.unit, row.accepted, row.why)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
