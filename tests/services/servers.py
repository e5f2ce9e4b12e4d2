"""Small servers on 127.0.0.1 that speak the wires of the four services, and plain JSON; they answer with a real model.

They decode the PNG that they receive and show its pixels to `model`: (H, W, C) bytes -> [(label, score), ...]. Faults are
scripted: `script` maps the number of a query (from 0) to one of FAULTS, or is a function that does.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

FAULTS = {
    "throttled": "429, or the wire's own word for it, with no hint how long to wait",
    "wait": "the same with Retry-After: 1 (where the wire has headers)",
    "broken": "a server error",
    "refused": "a wrong key",
    "hang": "no answer at all within the time limit",
    "drip": "a body that arrives byte by byte",
    "truncated": "half of the JSON",
    "empty": "a valid answer without any label",
    "closed": "the connection ends before the answer",
    "version": "another model version from now on",
    "echo": "the key is sent back in the answer",
    "decoded echo": "user name and password, out of a Basic key, are sent back in the answer",
    "packed": "the answer in gzip, which nobody asked for",
    "bomb": "64 MB of blanks in gzip",
    "bomb in a bomb": "256 MB of blanks, in gzip twice",
    "half packed": "gzip that breaks off",
    "endless": "a body without end",
    "endless chunk": "a line without end where the size of a chunk should be",
    "dripping header": "a header that arrives byte by byte",
    "digits": "a score of 401 digits",
    "307 URL": "a redirect to that address; also with 301, 302, 303 and 308",
}
ENDLESS = ("endless", "endless chunk", "dripping header")
Model = Callable[[np.ndarray], Sequence[tuple[str, float]]]


def brightness(pixels: np.ndarray) -> list[tuple[str, float]]:
    """A classifier of two classes that is exact on 8 bits: whether the mean is above a half."""
    light = float(pixels.mean()) / 255.0
    return sorted([("light", light), ("dark", 1.0 - light)], key=lambda tag: -tag[1])


@cache
def blanks(megabytes: int) -> bytes:
    """So many megabytes of blanks in gzip."""
    packing = zlib.compressobj(9, wbits=31)
    return b"".join(packing.compress(b" " * (1 << 20)) for _ in range(megabytes)) + packing.flush()


class Brain:
    """The model behind a server, its faults, and what it has seen."""

    def __init__(self, model: Model, script: Mapping[int, str] | Callable[[int], str | None] = {}, latency: float = 0):  # noqa: B006
        self.model, self.latency = model, latency
        self.script = script if callable(script) else script.get
        self.lock = threading.Lock()
        self.queries = 0
        self.version = "3.0"
        self.keys: set[str] = set()
        self.encodings: set[str | None] = set()
        """What the clients accept."""
        self.seen: Counter[str] = Counter()
        """SHA-256 of each PNG -> how often it came."""
        self.sizes: set[tuple[int, int]] = set()
        self.at_once = self.most_at_once = 0

    def next_fault(self) -> str | None:
        with self.lock:
            number, self.queries = self.queries, self.queries + 1
        return self.script(number)

    def look(self, png: bytes) -> list[tuple[str, float]]:
        with self.lock:
            self.seen[hashlib.sha256(png).hexdigest()] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        picture = Image.open(io.BytesIO(png))
        assert picture.format == "PNG"
        self.sizes.add(picture.size)
        time.sleep(self.latency)
        tags = list(self.model(np.asarray(picture)))
        with self.lock:
            self.at_once -= 1
        return tags


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the body waits 40 ms for the headers to be acknowledged
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        brain = self.server.brain
        body = self.rfile.read(int(self.headers["Content-Length"]))
        wire = self.wire()
        png, key = self.parsed(wire, body)
        brain.keys.add(key)
        brain.encodings.add(self.headers["Accept-Encoding"])
        fault = brain.next_fault()
        tags = [] if fault == "empty" else brain.look(png)
        if fault == "version":
            brain.version = "4.0"
        status, value = 200, self.answer(wire, tags)
        headers = {}
        if fault in ("throttled", "wait"):
            status, value = self.throttled(wire)
            headers = {"Retry-After": "1"} if fault == "wait" else {}
        elif fault == "broken":
            status, value = 503, {"error": {"code": 503, "message": "try later", "status": "UNAVAILABLE"}}
        elif fault == "refused":
            status, value = 403, {"error": {"code": 403, "message": f"wrong key {key}", "status": "PERMISSION_DENIED"}}
        elif fault == "echo":
            value = {**value, "request": {"headers": dict(self.headers)}}
        elif fault == "decoded echo":
            pair = base64.b64decode(key.removeprefix("Basic ")).decode()
            value = {
                **value,
                "request": {"user": pair.partition(":")[0], "password": pair.partition(":")[2], "pair": pair},
            }
        elif fault == "hang":
            self.server.over.wait(60)
            return
        elif fault == "closed":
            self.close_connection = True
            return
        elif fault and fault[0] == "3":
            status, location = int(fault[:3]), fault[4:]
            headers = {"Location": location + self.path}
        elif fault in ENDLESS:
            self.without_end(fault)
            return
        data = json.dumps(value).encode()
        if fault == "digits":
            data = re.sub(rb"[0-9]+\.[0-9]+(?=[,}])", b"9" * 401, data)
        elif fault in ("packed", "half packed"):
            data, headers = gzip.compress(data), {"Content-Encoding": "gzip"}
            data = data[: len(data) // 2] if fault == "half packed" else data
        elif fault == "bomb":
            data, headers = blanks(64), {"Content-Encoding": "gzip"}
        elif fault == "bomb in a bomb":
            data, headers = gzip.compress(blanks(256)), {"Content-Encoding": "gzip, gzip"}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, text in headers.items():
            self.send_header(name, text)
        data = data[: len(data) // 2] if fault == "truncated" else data
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if fault == "drip":
            for i in range(len(data)):
                if self.server.over.wait(0.2):
                    return
                self.wfile.write(data[i : i + 1])
        else:
            self.wfile.write(data)

    def without_end(self, fault: str) -> None:
        """Until the client hangs up; at most 64 MB, or a byte every 0.1 s."""
        self.close_connection = True
        head = {"endless chunk": "Transfer-Encoding: chunked\r\n\r\n", "endless": "\r\n"}.get(fault, "X-Slow: ")
        self.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{head}".encode())
        for _ in range(64):
            if fault == "dripping header":
                if self.server.over.wait(0.1):
                    return
                self.wfile.write(b"x")
            else:
                self.wfile.write(b"1" * (1 << 20))

    def wire(self) -> str:
        if self.headers.get("X-Amz-Target") == "RekognitionService.DetectLabels":
            return "aws"
        if self.path.startswith("/v1/images:annotate"):
            return "google"
        if self.path.startswith("/computervision/imageanalysis:analyze?api-version=2023-10-01&features=tags"):
            return "azure"
        return "http"

    def parsed(self, wire: str, body: bytes) -> tuple[bytes, str]:
        if wire == "aws":
            return base64.b64decode(json.loads(body)["Image"]["Bytes"]), self.headers["Authorization"]
        if wire == "google":
            (request,) = json.loads(body)["requests"]
            assert request["features"][0]["type"] in (4, "LABEL_DETECTION")
            return base64.b64decode(request["image"]["content"]), self.headers.get("x-goog-api-key", "")
        if wire == "azure":
            return body, self.headers["Ocp-Apim-Subscription-Key"]
        return base64.b64decode(json.loads(body)["image"]), self.headers.get("Authorization", "")

    def answer(self, wire: str, tags: Sequence[tuple[str, float]]) -> dict:
        version = self.server.brain.version
        if wire == "aws":
            labels = [{"Name": name, "Confidence": 100.0 * score, "Parents": []} for name, score in tags]
            return {"Labels": labels, "LabelModelVersion": version}
        if wire == "google":
            labels = [{"mid": f"/m/{name}", "description": name, "score": score} for name, score in tags]
            return {"responses": [{"labelAnnotations": labels} if labels else {}]}
        if wire == "azure":
            values = [{"name": name, "confidence": score} for name, score in tags]
            return {"modelVersion": version, "metadata": {}, "tagsResult": {"values": values}}
        return {"version": version, "labels": [{"name": name, "score": score} for name, score in tags]}

    def throttled(self, wire: str) -> tuple[int, dict]:
        if wire == "aws":
            return 400, {"__type": "ThrottlingException", "message": "Rate exceeded"}
        if wire == "google":
            return 429, {"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}
        return 429, {"error": {"code": "TooManyRequests", "message": "slower"}}


class Server(ThreadingHTTPServer):
    """AWS, Google, Azure and plain JSON, told apart by what they send."""

    request_queue_size = 256
    daemon_threads = True

    def __init__(self, brain: Brain, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.brain = brain
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """A client that has hung up is no error of the server."""

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()


class ClarifaiServer:
    """Clarifai's gRPC wire."""

    def __init__(self, brain: Brain) -> None:
        import grpc
        from clarifai_grpc.channel.clarifai_channel import ClarifaiChannel
        from clarifai_grpc.grpc.api import resources_pb2, service_pb2, service_pb2_grpc
        from clarifai_grpc.grpc.api.status import status_pb2

        ClarifaiChannel.get_insecure_grpc_channel("127.0.0.1", 1).close()  # the generated code needs it once
        over = self.over = threading.Event()

        def status(code: int, text: str) -> status_pb2.Status:
            return status_pb2.Status(code=code, description=text)

        class Servicer(service_pb2_grpc.V2Servicer):
            def PostModelOutputs(self, request, context):  # noqa: N802
                assert request.model_id == "general-image-recognition"
                key = dict(context.invocation_metadata())["authorization"]
                brain.keys.add(key)
                fault = brain.next_fault()
                tags = [] if fault == "empty" else brain.look(request.inputs[0].data.image.base64)
                if fault == "version":
                    brain.version = "4.0"
                if fault in ("throttled", "wait"):
                    return service_pb2.MultiOutputResponse(status=status(11005, "throttled"))
                if fault == "refused":
                    return service_pb2.MultiOutputResponse(status=status(11001, f"wrong key {key}"))
                if fault in ("broken", "closed", "truncated"):
                    context.abort(grpc.StatusCode.UNAVAILABLE, "try later")
                if fault in ("hang", "drip"):
                    over.wait(60)
                concepts = [resources_pb2.Concept(id=name, name=name, value=score) for name, score in tags]
                output = resources_pb2.Output(
                    status=status(10000, "Ok"),
                    data=resources_pb2.Data(concepts=concepts),
                    model=resources_pb2.Model(model_version=resources_pb2.ModelVersion(id=brain.version)),
                )
                return service_pb2.MultiOutputResponse(status=status(10000, "Ok"), outputs=[output])

        self._server = grpc.server(futures.ThreadPoolExecutor(64))
        service_pb2_grpc.add_V2Servicer_to_server(Servicer(), self._server)
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self.brain = brain

    def __enter__(self) -> ClarifaiServer:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.stop(None).wait()


SPECS = {
    "aws": "aws:rekognition",
    "google": "google:vision",
    "azure": "azure:image-analysis",
    "clarifai": "clarifai:general-image-recognition",
}
SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIDSECRETSECRET0001",
    "AWS_SECRET_ACCESS_KEY": "aws-secret-0002",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "GOOGLE_API_KEY": "google-secret-0003",
    "VISION_KEY": "azure-secret-0004",
    "CLARIFAI_PAT": "clarifai-secret-0005",
    "DSMOOTH_HTTP_AUTHORIZATION": "Bearer http-secret-0006",
}
"""Environment variables that let the SDKs speak to these servers."""


def server(wire: str, brain: Brain) -> Server | ClarifaiServer:
    """The server that speaks a wire."""
    return ClarifaiServer(brain) if wire == "clarifai" else Server(brain)


def connection(wire: str, url: str) -> tuple[str, str | None]:
    """Name and endpoint of the classifier behind a server."""
    return (f"{url}/classify", None) if wire == "http" else (SPECS[wire], url)
