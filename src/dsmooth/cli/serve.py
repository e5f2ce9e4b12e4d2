"""Serve certified classifications over HTTP."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, CycloptsError, Parameter

from dsmooth.cli.certify import warn_of_few
from dsmooth.cli.options import FLAG, USUAL, Model, Service, Terms, Whole
from dsmooth.console import note, say
from dsmooth.errors import BadModel, BadParameter, require

if TYPE_CHECKING:
    from dsmooth.serve.served import Limits, Served
    from dsmooth.theory.modes import Mode

__all__ = ["serve"]

_MOST_SECONDS: Final = 3600.0
_LARGEST: Final = 5000  # pixels a side
_MOST_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


@Parameter(name="*", group="Server")
@dataclass(frozen=True, kw_only=True)
class Door:
    """Where the server listens, who may use it, and what it keeps."""

    host: str = "127.0.0.1"
    """Address to listen on. Any but a loopback address needs --keys, and TLS or --behind-proxy."""
    port: Whole = 8080
    """Port to listen on; 0 takes a free one."""
    grpc_port: Whole | None = None
    """Port for gRPC: the Open Inference Protocol and Clarifai (extra grpc)."""
    keys: Path | None = None
    """JSON file of API keys, by their SHA-256: {"keys": [{"name": "alice", "sha256": "..."}]}. Optional for each:
    requests_per_minute, samples_per_day, dollars_per_day and aws_access_key."""
    aws_secrets: Path | None = None
    """JSON file {"ACCESS KEY": "secret"}, with file mode 0600, for callers with an aws_access_key."""
    tls_certificate: Path | None = None
    """Certificate chain (PEM)."""
    tls_key: Path | None = None
    """Its private key (PEM)."""
    behind_proxy: Annotated[bool, FLAG] = False
    """A proxy in front of this server terminates TLS; --keys is needed on a loopback address too."""
    record: Path | None = None
    """Folder for certificate files, one per answer, for `dsmooth verify`."""
    signing_key: Path | None = None
    """Private key from `dsmooth keygen` that signs every certificate; `dsmooth verify --public-key` checks it."""
    fresh: Annotated[bool, FLAG] = False
    """Certify a repeated image again, and count the attempt; by default it is answered with its earlier certificate."""
    allow_attack: Annotated[bool, FLAG] = False
    """Let the page search for adversarial changes of the undefended classifier: one second of one core each."""
    otel: Annotated[bool, FLAG] = False
    """Send traces and metrics to the collector at OTEL_EXPORTER_OTLP_ENDPOINT (extra otel)."""
    most_votes: Whole = 10_000
    """Most votes (n0 + n) of a request; a job may have 100 times as many."""
    deadline: float = 60.0
    """Seconds within which a request is answered or refused."""
    drain: float = 30.0
    """Seconds that requests in progress may take when the server is shutting down."""

    def __post_init__(self) -> None:
        if not 0.0 < self.deadline <= _MOST_SECONDS:
            raise BadParameter(f"--deadline must be above 0 and at most {_MOST_SECONDS:g} seconds, got {self.deadline}")
        if self.most_votes < 1:
            raise BadParameter(f"--most-votes must be at least 1, got {self.most_votes}")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Usual:
    """The default settings of a request."""

    radius: float | None = None
    """Decide whether this radius holds, with as few votes as that takes (mode decision)."""
    rivals: Annotated[bool, FLAG] = False
    """With --radius: bound the strongest rival's votes too, which certifies small radii where the classifier is unsure; also
    for the radii that clients name."""
    size: Whole | None = None
    """Side in pixels to which images are resized and cropped; by default the classifier's."""


@Parameter(name="*", show=False)
@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """What `dsmooth certify` has and no server: refused in plain words."""

    top: str | None = None
    against: str | None = None
    cascade: Annotated[bool, FLAG] = False
    seed: str | None = None

    def __post_init__(self) -> None:
        for name, why in _ELSEWHERE.items():
            if getattr(self, name):
                raise BadParameter(f"--{name} is for dsmooth certify: {why}")


_ELSEWHERE: Final = {
    "top": "a server promises that the answer stays the first, not one of several",
    "against": "a server promises about small changes of the pixels, not about a family of transformations",
    "cascade": "a server has one sigma for each model; a TOML file names several models",
    "seed": "a server draws the key of the noise from the operating system, for each request",
}
_DOOR: Final = Door()
_DEMO: Final = Model(classifier="efficientnet-lite0", denoiser="photo-light", sigma=[0.25])
_FIXED: Final = Usual()
_HERE: Final = Elsewhere()
_NO_SERVICE: Final = Service()


@dataclass(frozen=True)
class _Wanted:
    """One model of a server, as its options say."""

    model: Model
    service: Service
    terms: Any
    usual: Usual
    where: str = ""
    """What complaints begin with: the table of a TOML file."""

    def check(self) -> None:
        """Raises BadParameter for bad numbers before anything is loaded, and says where so few votes cannot certify."""
        from dsmooth.theory.bounds import check_count, check_level
        from dsmooth.theory.laws.base import EnumeratedLaw

        with self._blamed():
            if self.usual.size is not None and not 0 < self.usual.size <= _LARGEST:
                raise BadParameter(f"size must be from 1 to {_LARGEST}, got {self.usual.size}")
            if self.usual.rivals and self.usual.radius is None:
                raise BadParameter("--rivals belongs to --radius: give both")
            law = self.model.law()
            if self.usual.radius is not None and isinstance(law, EnumeratedLaw):
                raise BadParameter(
                    f"--radius is for noise that is drawn; all outcomes of {law} are asked for: leave it out"
                )
            check_count(self.terms.n0, "n0")
            check_count(self.terms.n, "n")
            check_level(self.terms.alpha)
            warn_of_few(law, self._mode(), **{**vars(self.terms), "norm": law.norm_or_own(self.terms.norm)})

    def served(self, name: str, limits: Limits) -> Served:
        """It is loaded and warm."""
        with self._blamed():
            return self._served(name, limits)

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except (BadParameter, BadModel) as error:
            raise type(error)(f"{self.where}{error}") from error

    def _served(self, name: str, limits: Limits) -> Served:
        from dsmooth.serve.served import Served

        asked = {**vars(self.terms), "mode": self._mode()}
        asked["norm"] = self.model.law().norm_or_own(asked["norm"])
        smoothed = self.model.smoothed(asked.pop("bound"), self.service)
        return Served(name, smoothed, terms=asked, limits=limits, size=self.usual.size)

    def _mode(self) -> Mode:
        """How the votes of a question that names no mode are counted."""
        from dsmooth.theory.modes import FIXED, Mode

        radius = self.usual.radius
        return FIXED if radius is None else Mode("decision", (radius,), rivals=self.usual.rivals)


def serve(
    config: Path | None = None,
    /,
    *,
    model: Model | None = None,
    service: Service = _NO_SERVICE,
    terms: Terms = USUAL,
    usual: Usual = _FIXED,
    door: Door = _DOOR,
    elsewhere: Elsewhere = _HERE,
    demo: Annotated[bool, FLAG] = False,
) -> None:
    """Serve certified classifications over HTTP: a label, and a radius within which no change of the pixels alters it.

    Speaks its own protocol (/v1), the Open Inference Protocol (/v2), and those of Amazon Rekognition, Google Vision, Azure
    AI Vision and Clarifai: in their SDKs only the endpoint changes. On SIGTERM, answers the requests in progress and ends
    with exit code 0.

    Examples:

        dsmooth serve -c efficientnet-lite0 --sigma 0.25 --n0 20 --n 100 --dtype bf16

        curl --data-binary @cat.png 'localhost:8080/v1/certify?n=1000'

        dsmooth serve -c timm:resnet50 --radius 0.25 --n 1000 --record certificates/

        dsmooth serve -c timm:resnet50 --host 0.0.0.0 --keys keys.json --tls-certificate cert.pem --tls-key key.pem

        dsmooth serve -c azure:image-analysis --label-map animals.json --size 224 --n 100 --max-dollars 5 --rate 20

        dsmooth serve gateway.toml

        dsmooth serve --demo

    Parameters
    ----------
    config: Path | None
        TOML file for several models, instead of all options: server options in a table [server], those of each model in
        [models.NAME], all without leading dashes. The first model answers requests that name none.
    demo: bool
        Serve the page with the classifier and photographs of `dsmooth demo` (extra demo), with --allow-attack.
    """
    for package in ("starlette", "uvicorn", "prometheus_client"):
        require(package, "serve")
    if demo:
        if config is not None or model is not None:
            raise BadParameter("--demo has its own classifier: leave out -c and the TOML file")
        if (service, terms, usual) != (_NO_SERVICE, USUAL, _FIXED):
            raise BadParameter("--demo has its own votes too: leave out all options but those of the server")
        model, terms, door = _DEMO, replace(terms, n0=20, n=100), replace(door, allow_attack=True)
    if (config is None) == (model is None):
        raise BadParameter("expected one of a classifier (-c), a TOML file of models, or --demo")
    if model is not None:
        wanted = {"default": _Wanted(model, service, terms, usual)}
    else:
        assert config is not None
        if (service, terms, usual, door) != (_NO_SERVICE, USUAL, _FIXED, _DOOR):
            raise BadParameter(f"got options besides {config}: put them into that file")
        wanted, door = _read(config)
    _run(wanted, door, _photographs if demo else dict)


def _photographs() -> dict[str, bytes]:
    """The demo's photographs as PNG files, by name."""
    from dsmooth.demo import photographs
    from dsmooth.serve.showing import png

    return {image.name: png(image.pixels) for image in photographs()}


def _run(wanted: Mapping[str, _Wanted], door: Door, samples: Callable[[], Mapping[str, bytes]]) -> None:
    from dsmooth.records.envelope import SigningKey
    from dsmooth.serve.callers import Callers, read_callers
    from dsmooth.serve.settings import Settings
    from dsmooth.serve.sigv4 import read_secrets

    settings = Settings(
        host=door.host,
        port=door.port,
        grpc_port=door.grpc_port,
        keys=door.keys,
        tls_certificate=door.tls_certificate,
        tls_key=door.tls_key,
        behind_proxy=door.behind_proxy,
        drain=door.drain,
    )
    for each in wanted.values():
        each.check()
    if door.aws_secrets is not None and door.keys is None:
        raise BadParameter("--aws-secrets belongs to --keys: an aws_access_key there names the caller of each secret")
    callers = Callers(
        [] if door.keys is None else read_callers(door.keys),
        {} if door.aws_secrets is None else read_secrets(door.aws_secrets),
    )
    signer = None if door.signing_key is None else SigningKey(door.signing_key)

    from dsmooth.serve.archive import Archive
    from dsmooth.serve.desk import Desk
    from dsmooth.serve.guard import to_stderr
    from dsmooth.serve.metrics import Metrics
    from dsmooth.serve.served import Limits
    from dsmooth.serve.server import Server
    from dsmooth.serve.telemetry import OpenTelemetry
    from dsmooth.serve.tracing import NO_TRACING

    archive = Archive(door.record) if signer is None else Archive(door.record, signer.sealed)
    limits, metrics = Limits(most_votes=door.most_votes, deadline=door.deadline), Metrics()
    tracing = OpenTelemetry(metrics.registry, log=to_stderr) if door.otel else NO_TRACING
    desk = Desk(
        {name: each.served(name, limits) for name, each in wanted.items()},
        callers=callers,
        archive=archive,
        metrics=metrics,
        tracing=tracing,
        cache=not door.fresh,
        allow_attack=door.allow_attack,
        samples=samples(),
    )

    def started(listening: int) -> None:
        for name, served in desk.models.items():
            classifier, law = served.smoothed.classifier.name, served.smoothed.law
            say(f"{name}: {classifier}, {law}: {served.queue.rate:.0f} samples per second")
            if (seconds := served.usual / served.queue.rate) > door.deadline:
                note(
                    f"{name}: {served.usual:,} votes take about {seconds:.0f} s here, and --deadline is {door.deadline:g}: "
                    "most requests will be late or refused; raise it, or lower n0 and n"
                )
        scheme = "http" if door.tls_key is None else "https"
        say(f"listening on {scheme}://{door.host}:{listening}, web page at /")
        if server.grpc_port is not None:
            say(f"gRPC on port {server.grpc_port}")

    try:
        server = Server(desk, settings, on_start=started)
    except BaseException:
        desk.close()
        raise
    server.run()
    note("stopped: all requests in progress were answered")


def _read(path: Path) -> tuple[dict[str, _Wanted], Door]:
    """The models and the server that a TOML file describes; raises BadParameter for anything else."""
    from dsmooth.records.files import read_bounded

    try:
        value = tomllib.loads(read_bounded(path, _MOST_BYTES).decode())
    except (OSError, ValueError) as error:
        raise BadParameter(f"{path}: expected a TOML file, cannot read it ({error})") from error
    models, server = value.get("models"), value.get("server", {})
    if (
        not isinstance(models, dict)
        or not models
        or not isinstance(server, dict)
        or value.keys() - {"models", "server"}
    ):
        raise BadParameter(f"{path}: expected tables [models.NAME], and optionally [server]")
    for name in models:
        if not _NAME.fullmatch(name):  # it stands in addresses, metrics and logs
            raise BadParameter(f"{path}: a model's name has 1 to 64 of A-Z, a-z, 0-9, ., - and _, got {name[:40]!r}")
    wanted = {}
    for name, table in models.items():
        where = f"{path}: [models.{name}]"
        wanted[name] = replace(_parsed(_one, table, where), where=f"{where}: ")
    return wanted, _parsed(_door, server, f"{path}: [server]")


def _one(
    *,
    model: Model,
    service: Service = _NO_SERVICE,
    terms: Terms = USUAL,
    usual: Usual = _FIXED,
    elsewhere: Elsewhere = _HERE,
) -> _Wanted:
    return _Wanted(model, service, terms, usual)


def _door(*, door: Door = _DOOR) -> Door:
    return door


def _parsed(options: Callable[..., Any], table: object, where: str) -> Any:
    """What the command line would make of the same options: there is one place that checks them."""
    if not isinstance(table, dict):
        raise BadParameter(f"{where}: expected a table of options")
    tokens = []
    for name, value in table.items():
        if value is True:
            tokens.append(f"--{name.replace('_', '-')}")
        elif isinstance(value, str | int | float) and value is not False:
            tokens.append(f"--{name.replace('_', '-')}={value}")
        elif value is not False:
            raise BadParameter(f"{where}: {name} must be text, a number, true or false")
    app = App(default_command=options, help_flags=[], version_flags=[], result_action="return_value")
    try:
        return app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise BadParameter(f"{where}: {' '.join(str(error).split())}") from error
    except BadParameter as error:
        raise BadParameter(f"{where}: {error}") from error
