"""Spans and metrics, as a collector on loopback receives them by OpenTelemetry's own protocol."""

import contextlib
import gzip
import http.server
import threading
import time

import pytest

from dsmooth.errors import BadParameter
from dsmooth.serve.metrics import Metrics
from dsmooth.serve.settings import Settings
from dsmooth.serve.telemetry import OpenTelemetry
from serve.running import gateway, picture
from support import refused

messages = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="the extra otel")
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest  # noqa: E402

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(http.server.ThreadingHTTPServer):
    """Keeps what it is sent."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Receiver)
        self.spans, self.metrics, self.bytes = [], {}, b""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.bytes += body
        if self.path == "/v1/traces":
            for resource in messages.ExportTraceServiceRequest.FromString(body).resource_spans:
                self.server.spans += [span for scope in resource.scope_spans for span in scope.spans]
        else:
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                assert {each.key: each.value.string_value for each in resource.resource.attributes}[
                    "service.name"
                ] == "dsmooth"
                self.server.metrics.update({m.name: m for scope in resource.scope_metrics for m in scope.metrics})
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector(monkeypatch):
    with Collector() as opened:
        thread = threading.Thread(target=opened.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", opened.url)
        yield opened
        opened.shutdown()
        thread.join()


def traced(log):
    return lambda registry: OpenTelemetry(registry, log=log.append)


def facts(span):
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def points(metric):
    kind = metric.WhichOneof("data")
    return {
        tuple(sorted((a.key, a.value.string_value) for a in point.attributes)): point
        for point in getattr(metric, kind).data_points
    }


def test_a_collector_hears_of_requests_their_stages_and_everything_that_is_measured(collector):
    log = []
    with gateway(traced=traced(log)) as running:
        sent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X_Secret": "hunter2"}
        told = running.ask("POST", "/v1/certify?n=150", picture(200), **sent).value
        running.ask("POST", "/v1/predict", picture(201))
        assert running.ask("POST", "/v1/certify?n=hunter2", b"hunter2").status == 400
    spans = {bytes(span.span_id): span for span in collector.spans}
    (certified,) = [
        span for span in spans.values() if span.trace_id.hex() == TRACE and span.parent_span_id.hex() == PARENT
    ]
    assert certified.name == "POST /v1/certify"
    assert certified.kind == certified.SPAN_KIND_SERVER
    assert facts(certified) == {
        "http.request.method": "POST", "http.route": "/v1/certify", "http.response.status_code": 200, "dsmooth.face": "own",
        "dsmooth.caller": "local", "dsmooth.certificate": told["certificate"],
    }  # fmt: skip
    stages = [span for span in spans.values() if span.parent_span_id == certified.span_id]
    assert sorted(span.name for span in stages) == ["decode", "record", "vote"]
    for span in stages:
        assert (
            certified.start_time_unix_nano
            <= span.start_time_unix_nano
            <= span.end_time_unix_nano
            <= certified.end_time_unix_nano
        )
    refusal = next(span for span in spans.values() if facts(span).get("dsmooth.reason"))
    assert facts(refusal)["dsmooth.reason"] == "bad_request"
    assert b"hunter2" not in collector.bytes

    registry = running.desk.metrics.registry
    assert {name.removesuffix("_total") for name in collector.metrics} == collector.metrics.keys()
    for family in registry.collect():
        if family.type == "counter":
            for sample in (each for each in family.samples if each.name.endswith("_total")):
                assert (
                    points(collector.metrics[family.name])[tuple(sorted(sample.labels.items()))].as_double
                    == sample.value
                )
    assert points(collector.metrics["dsmooth_samples"])[()].as_double == 170 + 100
    (radius,) = points(collector.metrics["dsmooth_certified_radius"]).values()
    (at,) = [i for i, count in enumerate(radius.bucket_counts) if count]
    assert radius.explicit_bounds[at - 1] < float(told["radius"]) <= radius.explicit_bounds[at]
    assert (radius.count, len(radius.bucket_counts)) == (1, len(radius.explicit_bounds) + 1)
    duration = points(collector.metrics["dsmooth_request_duration_seconds"])[(("face", "own"),)]
    assert duration.count == 3
    assert log == []


def test_calls_by_grpc_are_traced(collector):
    triton = pytest.importorskip("tritonclient.grpc", reason="speaks to it")
    with (
        gateway(traced=traced([]), settings=Settings(port=0, grpc_port=0)) as running,
        triton.InferenceServerClient(f"127.0.0.1:{running.server.grpc_port}") as client,
    ):
        assert client.is_model_ready("default", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    (span,) = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    assert (span.name, facts(span)["dsmooth.face"]) == ("ModelReady", "inference-grpc")


def test_a_collector_that_is_away_delays_nothing_and_is_said_in_the_log(collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    log = []
    with gateway(traced=traced(log)) as running:
        assert running.ask("POST", "/v1/certify", picture(200)).status == 200
        ended = time.monotonic()
    assert time.monotonic() - ended < 20
    assert any("opentelemetry" in line for line in log)
    assert collector.spans == []


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "a minute"])
def test_variables_that_are_none(monkeypatch, interval):
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", interval)
    with pytest.raises(BadParameter, match="OTEL_"):
        OpenTelemetry(Metrics().registry, log=lambda entry: None)


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.startswith("opentelemetry.sdk")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    with contextlib.chdir(tmp_path):
        refused(
            tmp_path,
            "serve",
            "-c",
            "import:support:Linear",
            "-d",
            "none",
            "--size",
            "16",
            "--otel",
            says="dsmooth[otel]",
        )
