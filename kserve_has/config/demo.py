"""Settings of the demo."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import setting


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """How the demo loads the samples and how long it waits for them."""

    seconds: float = setting(
        165.0, unit="s", low=10, high=3600, why="set-up, run and report stay under five minutes"
    )
    lead_in_s: float = setting(
        15.0,
        unit="s",
        low=0,
        high=120,
        why="services in use do not start at full load; not counted",
    )
    speed: float = setting(
        20.0,
        low=0.1,
        high=100,
        why="nearly the whole hour of the trace fits the run, and with it a rise and a fall by half",
    )
    resnet50_factor: float = setting(
        6.0, low=0.01, high=1000, why="what both model servers' Python can serve on two cores"
    )
    bert_base_384_factor: float = setting(
        3.0, low=0.01, high=1000, why="the same, at half of the other service's rate"
    )
    other_factor: float = setting(
        1.0, low=0.01, high=1000, why="a service we know nothing about gets the trace as it is"
    )
    seed: int = setting(1, low=0, high=2**31, why="the same arrivals in every run")
    request_timeout_s: float = setting(
        10.0, unit="s", low=0.1, high=120, why="a hundred times the objectives: it never came"
    )
    connections: int = setting(
        128, low=1, high=4096, why="far above what is in flight while objectives hold"
    )
    outstanding: int = setting(
        2000, low=1, high=100_000, why="bounds the generator's memory when nothing answers"
    )
    ready_timeout_s: float = setting(
        120.0, unit="s", low=5, high=1800, why="first replicas import their model server cold"
    )
    refresh_s: float = setting(
        1.0, unit="s", low=0.2, high=10, why="often enough to watch, cheap on two cores"
    )
    plain_every_s: float = setting(
        10.0, unit="s", low=1, high=300, why="one line of progress where there is no terminal"
    )
    recent_s: float = setting(
        10.0, unit="s", low=1, high=120, why="the window of the live percentiles"
    )

    demand_window_s: float = setting(
        20.0,
        unit="s",
        low=5,
        high=600,
        why="half of the autoscaler's default: time passes faster for the trace, too",
    )
    scale_in_after_s: float = setting(
        8.0,
        unit="s",
        low=0,
        high=3600,
        why="the same for how long a replica less must have been right",
    )
    pool_keep_s: float = setting(
        8.0, unit="s", low=0, high=86400, why="the same for a parked spare"
    )
    pool_surge: float = setting(
        1.0, low=1.0, high=20.0, why="one spare is enough for a trace that doubles in a minute"
    )

    def policy(self) -> dict[str, float]:
        """Return the settings of the autoscaler's policy that differ from its defaults."""
        return {
            "demand_window_s": self.demand_window_s,
            "scale_in_after_s": self.scale_in_after_s,
            "pool_keep_s": self.pool_keep_s,
            "pool_surge": self.pool_surge,
        }

    def factor(self, served_model: str) -> float:
        """Return the factor from the trace's rate to a model's load."""
        known = {"resnet50": self.resnet50_factor, "bert_base_384": self.bert_base_384_factor}
        return known.get(served_model, self.other_factor)
