"""The Go programs of the stack: which releases, how they are built, what is kept of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ..errors import StackError
from .kserve_release import extract

Report = Callable[[str], None]

MODULES: Final = Path(__file__).resolve().parent / "gomodules"
KSERVE_MODULE: Final = "github.com/kserve/kserve"
KSERVE_MANIFESTS: Final = "kserve.json"
_KUBERNETES: Final = "1.36.2"
# Knative and others read the version; a build from a module calls itself v0.0.0 otherwise.
_KUBERNETES_VERSION: Final = " ".join(
    f"-X k8s.io/component-base/version.{name}={value}"
    for name, value in (
        ("gitVersion", f"v{_KUBERNETES}"),
        ("gitMajor", _KUBERNETES.split(".")[0]),
        ("gitMinor", _KUBERNETES.split(".")[1]),
    )
)


@dataclass(frozen=True, slots=True)
class GoPart:
    """One program.

    Attributes:
        name: file name of the binary.
        module: the folder under ``gomodules`` whose go.mod and go.sum pin it.
        package: import path of its ``main`` package, ``"."`` for the wrapper's own.
        cold_s: seconds that a first build took on two cores, for the progress line.
        flags: further build flags.
    """

    name: str
    module: str
    package: str
    cold_s: int
    ldflags: str = "-s -w"
    tags: str = ""

    def command(self, go: str, output: Path) -> list[str]:
        """Return the build's command line."""
        command = [go, "build", "-mod=readonly", "-trimpath", f"-ldflags={self.ldflags}"]
        if self.tags:
            command.append(f"-tags={self.tags}")
        return [*command, "-o", str(output), self.package]

    def key(self) -> str:
        """Return what the binary depends on, as 16 hex digits."""
        digest = hashlib.sha256(" ".join(self.command("go", Path(self.name))).encode())
        for path in sorted((MODULES / self.module).iterdir()):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()[:16]


def _kubernetes(name: str, cold_s: int) -> GoPart:
    ldflags = f"-s -w {_KUBERNETES_VERSION}"
    return GoPart(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", cold_s, ldflags)


GO_PARTS: Final = (
    GoPart("etcd", "etcd", ".", 21),
    _kubernetes("kube-apiserver", 267),
    _kubernetes("kube-controller-manager", 73),
    _kubernetes("kube-scheduler", 8),
    _kubernetes("kubectl", 31),
    GoPart("kserve-manager", "kserve", f"{KSERVE_MODULE}/cmd/manager", 123),
    GoPart(
        "prometheus",
        "prometheus",
        "github.com/prometheus/prometheus/cmd/prometheus",
        106,
        tags="remove_all_sd,enable_kubernetes_sd",
    ),
)


@dataclass(frozen=True, slots=True)
class GoParts:
    """Where the built programs and KServe's manifests lie.

    Attributes:
        paths: binary by name.
        kserve_manifests: the objects of KServe's release that the stack uses.
    """

    paths: Mapping[str, Path]
    kserve_manifests: Path

    def binary(self, name: str) -> str:
        """Return the path of a program."""
        return str(self.paths[name])

    def missing(self) -> tuple[GoPart, ...]:
        """Return the parts that are not built yet, KServe's also without its manifests."""
        absent = {name for name, path in self.paths.items() if not path.exists()}
        if not self.kserve_manifests.exists():
            absent.add("kserve-manager")
        return tuple(part for part in GO_PARTS if part.name in absent)


def locate(cache: Path) -> GoParts:
    """Return where the parts are, or will be once they are built, below a cache folder."""
    folders = {part.name: cache / "parts" / f"{part.name}-{part.key()}" for part in GO_PARTS}
    return GoParts(
        {name: folder / name for name, folder in folders.items()},
        folders["kserve-manager"] / KSERVE_MANIFESTS,
    )


def locate_ready(folder: Path) -> GoParts:
    """Return parts that somebody built already, all in one folder."""
    return GoParts({part.name: folder / part.name for part in GO_PARTS}, folder / KSERVE_MANIFESTS)


def build(part: GoPart, go: str, caches: Path, parts: GoParts, log: Path) -> None:
    """Build one part; its folder appears complete or not at all.

    Raises:
        StackError: the compiler failed; the message names the log.
    """
    final = parts.paths[part.name].parent
    building = final.with_name(f"{final.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    environment = go_environment(caches)
    command = part.command(go, building / part.name)
    with log.open("ab") as output:
        output.write(f"$ {' '.join(command)}\n".encode())
        output.flush()
        status = _run(command, MODULES / part.module, environment, output)
    if status:
        raise StackError(f"go build of {part.name} ended with status {status}; see {log}")
    if part.module == "kserve":
        source = _module_folder(go, environment) / "install/v0.20.0/kserve.yaml"
        extract(source, building / KSERVE_MANIFESTS)
    shutil.rmtree(final, ignore_errors=True)
    building.rename(final)


def _run(command: list[str], folder: Path, environment: dict[str, str], log: BinaryIO) -> int:
    """Return the status of a command; when this wait is broken off, its compilers end too."""
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        process_group=0,
    )
    try:
        return child.wait()
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise


def go_environment(caches: Path) -> dict[str, str]:
    """Return the variables of a build whose caches are its own."""
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOWORK": "off",
        "GOFLAGS": "-buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOMODCACHE": str(caches / "mod"),
        "GOCACHE": str(caches / "build"),
    }


def _module_folder(go: str, environment: dict[str, str]) -> Path:
    answer = subprocess.run(
        [go, "list", "-m", "-json", KSERVE_MODULE],
        cwd=MODULES / "kserve",
        env=environment,
        capture_output=True,
        check=True,
    )
    return Path(json.loads(answer.stdout)["Dir"])
