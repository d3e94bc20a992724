"""Measured about our own processes: memory, and quantiles of their Prometheus histograms."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

Buckets = dict[float, float]  # upper bound -> cumulative count


def resident_bytes(pid: int, proc: Path = Path("/proc")) -> int:
    """Return a process's resident memory, 0 when it is gone."""
    try:
        text = (proc / str(pid) / "status").read_text(encoding="utf-8")
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def find_processes(word: str, proc: Path = Path("/proc")) -> list[int]:
    """Return the ids of processes one of whose first arguments ends with ``word``, ascending."""
    found = []
    for folder in proc.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                arguments = (folder / "cmdline").read_bytes().split(b"\0")[:3]
                if any(argument.decode(errors="replace").endswith(word) for argument in arguments):
                    found.append(int(folder.name))
    return sorted(found)


def environment_of(pid: int, proc: Path = Path("/proc")) -> dict[str, str]:
    """Return the environment a process was started with, empty when it cannot be read."""
    try:
        text = (proc / str(pid) / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def histograms(text: str) -> dict[str, Buckets]:
    """Return every histogram of a metrics page, all label sets added up."""
    found: dict[str, Buckets] = {}
    for family in text_string_to_metric_families(text):
        if family.type == "histogram":
            merged = found.setdefault(family.name, {})
            for sample in family.samples:
                if sample.name.endswith("_bucket"):
                    bound = float(sample.labels["le"])
                    merged[bound] = merged.get(bound, 0.0) + sample.value
    return found


def add_up(pages: Iterable[Mapping[str, Buckets]]) -> dict[str, Buckets]:
    """Return histograms of several processes added up by name."""
    total: dict[str, Buckets] = {}
    for page in pages:
        for name, buckets in page.items():
            merged = total.setdefault(name, {})
            for bound, count in buckets.items():
                merged[bound] = merged.get(bound, 0.0) + count
    return total


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Return a quantile by linear interpolation in its bucket, as PromQL does; None when empty.

    A quantile in the last bucket is reported as that bucket's lower bound.
    """
    bounds = sorted(buckets)
    count = buckets[bounds[-1]] if bounds else 0.0
    if not count:
        return None
    rank, below, lower = share * count, 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank:
            if math.isinf(bound):
                return lower
            inside = buckets[bound] - below
            return lower + (bound - lower) * ((rank - below) / inside if inside else 1.0)
        below, lower = buckets[bound], bound
    return lower


async def pages(urls: Sequence[str]) -> list[str]:
    """Return the metrics pages that answer within two seconds; the others are left out."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        found = await asyncio.gather(*(_page(session, url) for url in urls))
    return [page for page in found if page]


async def _page(session: aiohttp.ClientSession, url: str) -> str:
    try:
        async with session.get(url, ssl=False) as response:
            return await response.text() if response.status == 200 else ""
    except (aiohttp.ClientError, OSError, TimeoutError):
        return ""
