"""Serve certified answers over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from dsmooth.cli.options import FLAG, LOCAL, USUAL, Model, Service, Terms, Whole
from dsmooth.console import note, say
from dsmooth.errors import BadParameter, require

__all__ = ["serve"]


def serve(
    *,
    model: Model,
    service: Service = LOCAL,
    terms: Terms = USUAL,
    radius: float | None = None,
    size: Whole | None = None,
    host: str = "127.0.0.1",
    port: Whole = 8080,
    keys: Path | None = None,
    aws_secrets: Path | None = None,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    behind_proxy: Annotated[bool, FLAG] = False,
    record: Path | None = None,
    signing_key: Path | None = None,
    fresh: Annotated[bool, FLAG] = False,
    allow_attack: Annotated[bool, FLAG] = False,
    most_votes: Whole = 10_000,
    deadline: float = 60.0,
    drain: float = 30.0,
) -> None:
    """Answer pictures over HTTP: a label, and a radius within which no change of the pixels alters it.

    Speaks its own protocol (/v1), the Open Inference Protocol (/v2), and those of Amazon Rekognition, Google Vision, Azure
    AI Vision and Clarifai: their SDKs need another endpoint and nothing else. Ends on SIGTERM, with what is in progress
    answered, and exit code 0.

    Examples:

        dsmooth serve -c efficientnet-lite0 --sigma 0.25 --n0 20 --n 100 --dtype bf16

        curl --data-binary @cat.png 'localhost:8080/v1/certify?n=1000'

        dsmooth serve -c timm:resnet50 --radius 0.25 --n 1000 --record certificates/

        dsmooth serve -c timm:resnet50 --host 0.0.0.0 --keys keys.json --tls-certificate cert.pem --tls-key key.pem

        dsmooth serve -c azure:image-analysis --label-map animals.json --size 224 --n 100 --max-dollars 5 --rate 20

    Parameters
    ----------
    radius: float | None
        Decide whether this radius holds, with as few votes as that takes (mode decision), where a client asks nothing else.
    size: int | None
        Side to which images are resized and cropped; the classifier's own by default.
    host: str
        Address to listen on. Any but a loopback address needs --keys, and TLS or --behind-proxy.
    port: int
        0: any free one.
    keys: Path | None
        JSON file {"keys": [{"name": "alice", "sha256": "...", "requests_per_minute": 60, "samples_per_day": 1000000}]}: who
        may ask, by the SHA-256 of their keys.
    aws_secrets: Path | None
        JSON file {"ACCESS KEY": "secret"}, mode 0600, for callers with an aws_access_key in --keys.
    tls_certificate: Path | None
        Certificate chain (PEM).
    tls_key: Path | None
        Its private key (PEM).
    behind_proxy: bool
        TLS ends in front of this server; keys are needed on a loopback address too.
    record: Path | None
        Folder for a certificate file for each answer, which `dsmooth verify` takes.
    signing_key: Path | None
        Key of `dsmooth keygen` that signs every certificate; `dsmooth verify --public-key` checks it.
    fresh: bool
        Certify a repeated picture anew, and count the attempt; by default it is answered by the certificate that exists.
    allow_attack: bool
        Let the page look for changes that turn the classifier alone: a second of one core each.
    most_votes: int
        Most votes (n0 + n) of one request; a job may have 100 times as many.
    deadline: float
        Seconds within which a request is answered, or refused.
    drain: float
        Seconds that requests in progress have when the server is told to end.
    """
    for package in ("starlette", "uvicorn", "prometheus_client"):
        require(package, "serve")
    from dsmooth.serve.settings import Settings
    from dsmooth.theory.bounds import check_count
    from dsmooth.theory.modes import FIXED, Mode

    settings = Settings(
        host=host,
        port=port,
        keys=keys,
        aws_secrets=aws_secrets,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        behind_proxy=behind_proxy,
        drain=drain,
    )
    if not 0.0 < deadline <= 3600.0:
        raise BadParameter(f"--deadline must be above 0 and at most 3600 seconds, got {deadline}")
    check_count(most_votes, "--most-votes")
    if size is not None:
        check_count(size, "--size", most=5000)
    asked = {**vars(terms), "mode": FIXED if radius is None else Mode("decision", (radius,))}
    law = model.law()
    asked["norm"] = law.norm_or_own(asked["norm"])

    from dsmooth.serve.callers import Callers, read_callers
    from dsmooth.serve.sigv4 import read_secrets

    callers = Callers(
        [] if keys is None else read_callers(keys), {} if aws_secrets is None else read_secrets(aws_secrets)
    )
    from dsmooth.records.envelope import SigningKey

    signer = None if signing_key is None else SigningKey(signing_key)
    from dsmooth.serve.archive import Archive
    from dsmooth.serve.desk import Desk
    from dsmooth.serve.metrics import Metrics
    from dsmooth.serve.served import Limits, Served
    from dsmooth.serve.server import Server

    archive = Archive(record) if signer is None else Archive(record, signer.sealed)
    smoothed = model.smoothed(asked.pop("bound"), service)
    limits = Limits(most_votes=most_votes, deadline=deadline)
    served = Served("default", smoothed, terms=asked, limits=limits, size=size)
    desk = Desk(
        {"default": served},
        callers=callers,
        archive=archive,
        metrics=Metrics(),
        cache=not fresh,
        allow_attack=allow_attack,
    )

    def started(listening: int) -> None:
        scheme = "http" if tls_key is None else "https"
        say(f"{served.smoothed.classifier.name}, {law}: {served.queue.rate:.0f} samples a second")
        say(f"listening on {scheme}://{host}:{listening}, with a page at /")

    try:
        server = Server(desk, settings, on_start=started)
    except BaseException:
        desk.close()
        raise
    server.run()
    note("ended: what was in progress is answered")
