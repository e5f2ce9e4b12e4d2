"""Prometheus metrics of the gateway: base units, and labels with few values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dsmooth.serve.refusals import REASONS
from dsmooth.smoothing.tally import Tally
from dsmooth.theory.certifiers import Certificate

if TYPE_CHECKING:
    from dsmooth.serve.desk import Desk

__all__ = ["Metrics"]

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)
_RADII = (0.05, 0.1, 0.15, 0.2, 0.25, 0.37, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)


class Metrics:
    """The measurements of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "dsmooth_requests", "Requests answered.", ["face", "method", "code"], registry=self.registry
        )
        self._duration = Histogram(
            "dsmooth_request_duration_seconds",
            "Time from the request's head to the end of the response.",
            ["face"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._rejections = Counter(
            "dsmooth_rejections", "Requests refused, by reason.", ["reason"], registry=self.registry
        )
        self._wait = Histogram(
            "dsmooth_queue_wait_seconds",
            "Time from submission to the first votes.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._samples = Counter("dsmooth_samples", "Votes drawn for clients.", registry=self.registry)
        self._missing = Counter(
            "dsmooth_missing_votes",
            "Trials without a usable answer (missing votes).",
            ["reason"],
            registry=self.registry,
        )
        self._abstentions = Counter("dsmooth_abstentions", "Certificates that abstain.", registry=self.registry)
        self._radius = Histogram(
            "dsmooth_certified_radius",
            "Radii of certificates, in the norm of the question.",
            buckets=_RADII,
            registry=self.registry,
        )
        for reason in REASONS:
            self._rejections.labels(reason)
        self._missing.labels("no_answer")

    def watch(self, desk: Desk) -> None:
        """Queues and rates of the desk's models are read when somebody asks."""
        self.registry.register(_Queues(desk))

    def request(self, face: str, method: str, code: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(face, method if method in ("GET", "POST", "DELETE") else "other", str(code)).inc()
        self._duration.labels(face).observe(seconds)

    def refused(self, reason: str) -> None:
        """A request was refused."""
        self._rejections.labels(reason).inc()

    def begun(self, seconds: float) -> None:
        """The first votes of an image came so many seconds after it was handed to the session."""
        self._wait.observe(seconds)

    def voted(self, tally: Tally) -> None:
        """An image has all its votes."""
        self._samples.inc(tally.drawn)
        missing = tally.trials.total() - sum(counts.total() for counts in tally.counts.values())
        self._missing.labels("no_answer").inc(missing)

    def certified(self, certificate: Certificate) -> None:
        """A certificate was made."""
        if certificate.abstained:
            self._abstentions.inc()
        else:
            self._radius.observe(certificate.radius)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)


class _Queues(Collector):
    """What waits now."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def collect(self) -> Iterator[Any]:
        """The gauges, read now."""
        images = GaugeMetricFamily("dsmooth_queue_images", "Requests waiting.", labels=["model", "queue"])
        samples = GaugeMetricFamily(
            "dsmooth_queue_samples", "Upper bound on votes still to be drawn.", labels=["model", "queue"]
        )
        rate = GaugeMetricFamily(
            "dsmooth_samples_per_second", "Samples per second, measured while busy.", labels=["model", "queue"]
        )
        fill = GaugeMetricFamily(
            "dsmooth_batch_fill_ratio", "Share of batch rows that were requested, not padding.", labels=["model"]
        )
        upstream = CounterMetricFamily(
            "dsmooth_upstream_requests", "Queries to a service, answered or failed.", labels=["provider", "code"]
        )
        dollars = CounterMetricFamily(
            "dsmooth_upstream_cost_dollars", "Cost of the queries sent, at the service's price.", labels=["model"]
        )
        for name, served in self._desk.models.items():
            for kind, queue in (("requests", served.queue), ("jobs", served.jobs)):
                images.add_metric([name, kind], queue.requests)
                samples.add_metric([name, kind], queue.samples)
                rate.add_metric([name, kind], queue.rate)
            classifier = served.smoothed.classifier
            fill.add_metric([name], served.smoothed.session.fill_ratio)
            if classifier.traits.billed:
                for code, count in classifier.outcomes.items():
                    upstream.add_metric([classifier.name, code], count)
                dollars.add_metric([name], served.dollars(classifier.queries))
        yield from (images, samples, rate, fill, upstream, dollars)
