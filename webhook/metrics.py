"""What the webhook measures of itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# The API server waits five seconds; most answers take less than a millisecond.
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class WebhookMetrics:
    """Metrics of one webhook process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.latency = Histogram(
            "kserve_has_webhook_admission_seconds",
            "Time from the body's last byte to the answer of an admission request.",
            ("webhook",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.reviews = Counter(
            "kserve_has_webhook_reviews",
            "Admission requests by what was answered: allowed, patched, refused or failed.",
            ("webhook", "outcome"),
            registry=self.registry,
        )
        self.certificate_expiry = Gauge(
            "kserve_has_webhook_certificate_expiry_timestamp_seconds",
            "Unix time at which the served certificate ends.",
            registry=self.registry,
        )
        self.trusted = Gauge(
            "kserve_has_webhook_trusted",
            "1 while our registrations exist and carry our authority.",
            registry=self.registry,
        )
