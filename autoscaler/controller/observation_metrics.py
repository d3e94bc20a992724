"""What the latency model learns, told to Prometheus, and from there to the next leader."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from kserve_has.rapp.online import Learner, Standing

from ..observations import Seen

_OF_MODEL = ("served_model", "gpu")
_OF_PIECE = (*_OF_MODEL, "batch", "sm")


class ObservationMetrics:
    """Series of looks, observations and bounds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, labels: tuple[str, ...]) -> Gauge:
            return Gauge(f"kserve_has_{name}", text, labels, registry=registry)

        self._looks = Counter(
            "kserve_has_observation_looks",
            "Looks at ready replicas for observations of the latency model, by what came of them.",
            ("verdict",),
            registry=registry,
        )
        self._observed = gauge("observed_gpu_ms", "Newest GPU time of a request.", _OF_PIECE)
        self._predicted = gauge("predicted_gpu_ms", "The same as predicted then.", _OF_PIECE)
        self._bound = gauge("bound_gpu_ms", "The same, upper bound.", _OF_PIECE)
        self._learnt = gauge("model_observations", "Observations learnt from.", _OF_MODEL)
        self._strange = gauge("model_strange", "Observations too far off to be true.", _OF_MODEL)
        self._coverage = gauge("model_coverage", "Recent ones below the upper bound.", _OF_MODEL)
        self._width = gauge("model_bound_width", "Upper bound over mean, newest one.", _OF_MODEL)

    def looked(self, seen: Seen, learner: Learner) -> None:
        """Tell what a look brought, beside what the model had said of it, and how bounds did."""
        for verdict, count in seen.verdicts.items():
            self._looks.labels(str(verdict)).inc(count)
        for one in seen.observed:
            if not learner.judges(one):
                continue
            labels = (*one.place, str(one.batch), str(one.sm))
            told = learner.model.predict(*one.place, one.batch, one.sm, 100)
            self._observed.labels(*labels).set(one.gpu_ms)
            self._predicted.labels(*labels).set(told.mean_ms)
            self._bound.labels(*labels).set(told.upper_ms)
        for place, standing in learner.standings().items():
            self._stands(place, standing)

    def forget(self) -> None:
        """Remove what was learnt: another process leads and tells its own."""
        of_piece = (self._observed, self._predicted, self._bound)
        for metric in (*of_piece, self._learnt, self._strange, self._coverage, self._width):
            metric.clear()

    def _stands(self, place: tuple[str, str], standing: Standing) -> None:
        self._learnt.labels(*place).set(standing.observed)
        self._strange.labels(*place).set(standing.strange)
        self._coverage.labels(*place).set(standing.coverage)
        self._width.labels(*place).set(standing.width)
