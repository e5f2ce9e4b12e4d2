"""OpenTelemetry (extra `otel`): spans of requests, and what /metrics says, sent to a collector by OTLP over HTTP.

Where to, and how often, is said by OpenTelemetry's own variables: OTEL_EXPORTER_OTLP_ENDPOINT (http://localhost:4318),
OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, OTEL_METRIC_EXPORT_INTERVAL (milliseconds).
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final

from prometheus_client import CollectorRegistry

import dsmooth
from dsmooth.errors import BadParameter, require
from dsmooth.serve.complaints import heard
from dsmooth.serve.guard import Log
from dsmooth.serve.tracing import Told, Tracing

__all__ = ["OpenTelemetry"]

_EXTRA: Final = "otel"
_INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_MINUTE: Final = 60_000.0  # milliseconds
_SECONDS: Final = 5.0  # that a collector may take, at the end too, where OTEL_EXPORTER_OTLP_TIMEOUT says nothing
_NAMES: Final = {
    "method": "http.request.method",
    "endpoint": "http.route",
    "status": "http.response.status_code",
    "face": "dsmooth.face",
    "caller": "dsmooth.caller",
    "reason": "dsmooth.reason",
    "certificate": "dsmooth.certificate",
    "error": "error.type",
}
"""What the log says -> the attribute of a span: OpenTelemetry's names where it has one."""


class OpenTelemetry(Tracing):
    """Sends spans as they end, and the registry's metrics once a minute and at the end.

    Like the log, they hold no word of a request. A collector that is away loses them, and delays no answer. Raises
    MissingPackage without the extra, BadParameter for variables that are none.
    """

    def __init__(self, registry: CollectorRegistry, *, log: Log) -> None:
        self._sdk = require("opentelemetry.sdk.trace", _EXTRA)
        self._api = require("opentelemetry.trace", _EXTRA)
        self._propagate = require("opentelemetry.propagate", _EXTRA)
        resources = require("opentelemetry.sdk.resources", _EXTRA)
        exporters = require("opentelemetry.exporter.otlp.proto.http.trace_exporter", _EXTRA)
        batches = require("opentelemetry.sdk.trace.export", _EXTRA)
        named = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "dsmooth"), "service.version": dsmooth.__version__}
        resource = resources.Resource.create(named)
        seconds = None if "OTEL_EXPORTER_OTLP_TIMEOUT" in os.environ else _SECONDS
        try:
            self._measured = _Measured(registry, resource, seconds)
            self._provider = self._sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
            self._provider.add_span_processor(batches.BatchSpanProcessor(exporters.OTLPSpanExporter(timeout=seconds)))
        except ValueError as error:
            raise BadParameter(f"OpenTelemetry's variables (OTEL_...) are not understood: {error}") from error
        self._tracer = self._provider.get_tracer("dsmooth", dsmooth.__version__)
        self._heard = ExitStack()
        self._heard.enter_context(heard("opentelemetry", log))

    @contextmanager
    def request(self, carried: Mapping[str, str]) -> Iterator[Told]:
        context = self._propagate.extract(carried)
        with self._tracer.start_as_current_span(
            "request",
            context=context,
            kind=self._api.SpanKind.SERVER,
            record_exception=False,  # its text may hold words of the request
            set_status_on_exception=False,
        ) as span:

            def told(entry: Mapping[str, Any]) -> None:
                span.update_name(" ".join(entry[name] for name in ("method", "endpoint") if name in entry) or "request")
                span.set_attributes({_NAMES[name]: value for name, value in entry.items() if name in _NAMES})
                if entry["status"] >= 500:
                    span.set_status(self._api.StatusCode.ERROR)

            yield told

    def stage(self, name: str) -> AbstractContextManager[Any]:
        span: AbstractContextManager[Any] = self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        )
        return span

    def close(self) -> None:
        self._measured.close()
        self._provider.shutdown()
        self._heard.close()


class _Measured:
    """Sends what a registry of Prometheus holds, from time to time, by a thread of its own."""

    def __init__(self, registry: CollectorRegistry, resource: Any, seconds: float | None) -> None:
        self._registry, self._resource = registry, resource
        self._data = require("opentelemetry.sdk.metrics.export", _EXTRA)
        self._scopes = require("opentelemetry.sdk.util.instrumentation", _EXTRA)
        exporters = require("opentelemetry.exporter.otlp.proto.http.metric_exporter", _EXTRA)
        self._exporter = exporters.OTLPMetricExporter(timeout=seconds)
        self._interval = float(os.environ.get(_INTERVAL, _MINUTE)) / 1000.0
        if not 0.0 < self._interval < math.inf:
            raise ValueError(f"{_INTERVAL} must be a number of milliseconds above 0")
        self._began = time.time_ns()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send, name="dsmooth-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._exporter.shutdown()

    def _send(self) -> None:
        while True:
            ended = self._ended.wait(self._interval)
            self._exporter.export(self._all(time.time_ns()))
            if ended:
                return

    def _all(self, now: int) -> Any:
        metrics = [metric for family in self._registry.collect() if (metric := self._one(family, now)) is not None]
        scope = self._scopes.InstrumentationScope("dsmooth", dsmooth.__version__)
        return self._data.MetricsData(
            [self._data.ResourceMetrics(self._resource, [self._data.ScopeMetrics(scope, metrics, "")], "")]
        )

    def _one(self, family: Any, now: int) -> Any:
        """A family of Prometheus as OpenTelemetry's metric; None where it has no values yet."""
        data, total = self._data, self._data.AggregationTemporality.CUMULATIVE
        if family.type == "histogram":
            points = self._histogram(family, now)
            values = data.Histogram(points, total)
        else:
            wanted = f"{family.name}_total" if family.type == "counter" else family.name
            points = [
                data.NumberDataPoint(dict(sample.labels), self._began, now, sample.value)
                for sample in family.samples
                if sample.name == wanted
            ]
            values = data.Sum(points, total, True) if family.type == "counter" else data.Gauge(points)
        return data.Metric(family.name, family.documentation, "", values) if points else None

    def _histogram(self, family: Any, now: int) -> list[Any]:
        """Prometheus counts everything up to a bound, OpenTelemetry what lies between two."""
        sums: dict[tuple[tuple[str, str], ...], float] = {}
        counts: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
        for sample in family.samples:
            labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
            if sample.name == f"{family.name}_sum":
                sums[labels] = sample.value
            elif sample.name == f"{family.name}_bucket":
                counts.setdefault(labels, []).append((float(sample.labels["le"]), sample.value))
        points = []
        for labels, upto in counts.items():
            upto.sort()
            within = [
                int(value - before) for (_, value), before in zip(upto, (0.0, *(v for _, v in upto)), strict=False)
            ]
            bounds = [bound for bound, _ in upto if bound != math.inf]
            points.append(
                self._data.HistogramDataPoint(
                    dict(labels), self._began, now, sum(within), sums[labels], within, bounds, math.inf, -math.inf
                )
            )
        return points
