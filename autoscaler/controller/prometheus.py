"""Reads the gateway's counters out of Prometheus, in a thread, keeping what it has seen."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests.exceptions import RequestException
from urllib3.util.retry import Retry

from kserve_has.config.controller import ControllerSettings
from kserve_has.errors import ClusterError
from kserve_has.slo import Slo

from ..policy.observation import Traffic
from .samples import ARRIVAL_TERMS, WAITING, Answers, Bucket, History, traffic

_CLUSTER: Final = "envoy_cluster_name"
_ACTIVE: Final = "envoy_cluster_upstream_rq_active"
_CLASS: Final = "envoy_response_code_class"
_TIME: Final = "envoy_cluster_upstream_rq_time_bucket"
_STATUS: Final = "envoy_cluster_upstream_rq_xx"
_SHORT_WINDOW_S: Final = 10  # once the past is known only the newest samples are asked for

Row = Mapping[str, Any]
_Answer = TypeVar("_Answer")


class TrafficReader:
    """What the gateway measured, by target name (Envoy's cluster name)."""

    def __init__(self, url: str, settings: ControllerSettings) -> None:
        # The next poll is the retry: a poll that waits and asks again would hide fresh samples.
        self._connection = PrometheusConnect(
            url=url, timeout=settings.prometheus_timeout_s, retry=Retry(0)
        )
        self._settings = settings
        self._histories: dict[str, dict[str, dict[str, History]]] = {}
        self._answers: dict[str, Answers] = {}
        self._read_at = -math.inf

    async def poll(self, now: float) -> None:
        """Take in what is new; ``now`` is wall-clock seconds.

        Raises:
            ClusterError: Prometheus did not answer or refused.

        """
        counters, recent = await _answer(lambda: self._query(now))
        self._take_counters(counters)
        self._answers = answers_of(recent)
        self._read_at = now

    async def rows(self, query: str) -> list[Row]:
        """Return the rows of a query.

        Raises:
            ClusterError: Prometheus did not answer or refused.

        """
        return await _answer(lambda: list(self._connection.custom_query(query)))

    async def past(self, query: str, now: float, span_s: float, step_s: float) -> list[Row]:
        """Return the rows of a query over the ``span_s`` seconds before ``now``.

        Raises:
            ClusterError: Prometheus did not answer or refused.

        """
        begin, end = (datetime.fromtimestamp(at, UTC) for at in (now - span_s, now))
        step = f"{step_s:g}s"
        return await _answer(
            lambda: list(self._connection.custom_query_range(query, begin, end, step))
        )

    def traffic(self, name: str, slo: Slo, now: float) -> Traffic:
        """Return the traffic of one target as known now."""
        windows = (self._settings.arrivals_window_s, self._settings.latency_window_s)
        gateways = list(self._histories.get(name, {}).values())
        return traffic(gateways, self._answers.get(name, Answers()), slo, now, windows)

    def _query(self, now: float) -> tuple[list[Row], list[Row]]:
        known = now - self._read_at < _SHORT_WINDOW_S / 2
        window = _SHORT_WINDOW_S if known else self._settings.arrivals_window_s
        names = "|".join(ARRIVAL_TERMS)
        counters = self._connection.custom_query(f'{{__name__=~"{names}"}}[{window}s]')
        return counters, self._connection.custom_query(recent_query(self._settings))

    def _take_counters(self, rows: Iterable[Row]) -> None:
        keep_s = self._settings.arrivals_window_s + 5
        seen = set()
        for row in rows:
            labels = row["metric"]
            cluster, name = labels.get(_CLUSTER), labels.get("__name__")
            if cluster is None or name is None:
                continue
            seen.add(cluster)
            gateways = self._histories.setdefault(cluster, {})
            histories = gateways.setdefault(labels.get("instance", ""), {})
            points = [(float(at), float(value)) for at, value in row["values"]]
            history = histories.setdefault(name, History())
            history.extend(points, keep_s, gauge=name == WAITING)
        for cluster in [c for c in self._histories if c not in seen]:
            del self._histories[cluster]
        for gateways in self._histories.values():
            _forget_gone(gateways, keep_s)


async def _answer(ask: Callable[[], _Answer]) -> _Answer:
    try:
        return await asyncio.to_thread(ask)
    except (RequestException, PrometheusApiClientException, KeyError, ValueError) as error:
        raise ClusterError(f"Prometheus did not answer: {_brief(error)}") from error


def _forget_gone(gateways: dict[str, dict[str, History]], keep_s: float) -> None:
    """Drop gateways that the others have outlived by more than what is kept."""
    newest = {
        instance: max((h.points[-1][0] for h in of_one.values() if h.points), default=-math.inf)
        for instance, of_one in gateways.items()
    }
    last = max(newest.values(), default=-math.inf)
    for instance, at in newest.items():
        if at < last - keep_s:
            del gateways[instance]


def _brief(error: Exception) -> str:
    """Return an error without the query, which fills a screen."""
    words = str(error)
    return words if len(words) < 200 else f"{type(error).__name__} … {words[-150:]}"


def recent_query(settings: ControllerSettings) -> str:
    """Return one query for all that happened in the latency window and what goes on now.

    ``increase`` extrapolates to the window's ends and so invents requests; plain differences do
    not. A series younger than the window is counted from zero, as it was.
    """
    window = f"{settings.latency_window_s}s"

    def grown(metric: str, kept: str) -> str:
        sums = f"sum by ({kept}) ({metric} - ({metric} offset {window} or {metric} * 0) >= 0)"
        return f'label_replace({sums}, "kind", "{metric}", "", "")'

    active = f'label_replace(sum by ({_CLUSTER}) ({_ACTIVE}), "kind", "{_ACTIVE}", "", "")'
    waiting = f'label_replace(sum by ({_CLUSTER}) ({WAITING}), "kind", "{WAITING}", "", "")'
    times = grown(_TIME, f"{_CLUSTER}, le")
    return f"{times} or {grown(_STATUS, f'{_CLUSTER}, {_CLASS}')} or {active} or {waiting}"


def answers_of(rows: Iterable[Row]) -> dict[str, Answers]:
    """Return the answers of every target from the rows of :func:`recent_query`."""
    buckets: dict[str, list[Bucket]] = {}
    numbers: dict[str, dict[str, float]] = {}
    for row in rows:
        labels = row["metric"]
        cluster, kind, value = labels[_CLUSTER], labels["kind"], float(row["value"][1])
        of_cluster = numbers.setdefault(cluster, {})
        if kind == _TIME:
            buckets.setdefault(cluster, []).append((float(labels["le"]), value))
        elif kind == _STATUS:
            of_cluster["ended"] = of_cluster.get("ended", 0.0) + value
            if labels[_CLASS] == "5":
                of_cluster["failed"] = value
        else:
            of_cluster["in_flight"] = of_cluster.get("in_flight", 0.0) + value
    return {
        cluster: Answers(tuple(sorted(buckets.get(cluster, ()))), **of_cluster)
        for cluster, of_cluster in numbers.items()
    }
