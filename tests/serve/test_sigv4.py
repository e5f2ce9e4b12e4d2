"""Signatures as botocore makes them, and whatever else is none: each check refuses what it is there for."""

import hashlib
import time

import pytest

from dsmooth.serve.refusals import Refused
from dsmooth.serve.sigv4 import check_signature, signed

auth = pytest.importorskip("botocore.auth", reason="the SDK whose signatures these are")
ACCESS, SECRET, BODY = "AKIDALICE0000000001", "alice's secret", b'{"Image": {"Bytes": "eA=="}}'
TARGET = "RekognitionService.DetectLabels"


def headers_of(body=BODY, *, secret=SECRET, service="rekognition", region="eu-west-1", method="POST", path="/", **more):
    """The headers of a request that botocore has signed, by their names in lower case."""
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    given = {"Host": "localhost:8080", "X-Amz-Target": TARGET, "Content-Type": "application/x-amz-json-1.1", **more}
    request = AWSRequest(method, f"http://localhost:8080{path}", given, body)
    auth.SigV4Auth(Credentials(ACCESS, secret), service, region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def check(headers, body=BODY, *, query="", later=0.0):
    check_signature(signed(headers), SECRET, headers, query, body, clock=lambda: time.time() + later)


@pytest.mark.parametrize("region", ["eu-west-1", "us-gov-east-1"])
@pytest.mark.parametrize("later", [0.0, 290.0, -290.0])
def test_what_botocore_signs_is_accepted(region, later):
    headers = headers_of(region=region)
    assert signed(headers).access_key == ACCESS
    check(headers, later=later)


def test_a_body_that_names_its_hash_is_accepted():
    check(headers_of(**{"X-Amz-Content-SHA256": hashlib.sha256(BODY).hexdigest()}))


@pytest.mark.parametrize("later", [310.0, -310.0, 86_400.0])
def test_an_old_request_is_none(later):
    with pytest.raises(Refused, match="5 minutes"):
        check(headers_of(), later=later)


def changed(headers, name, value):
    return {**headers, name: value}


def replaced(headers, old, new):
    return changed(headers, "authorization", headers["authorization"].replace(old, new))


SIGNED = time.time()  # when pytest collected what follows, minutes before the tests of a slow machine
FORGED = {
    "another secret": (headers_of(secret="another"), "the signature"),
    "another target": (changed(headers_of(), "x-amz-target", "RekognitionService.DeleteCollection"), "the signature"),
    "another host": (changed(headers_of(), "host", "gateway.example"), "the signature"),
    "another service": (headers_of(service="s3"), "signed for rekognition"),
    "another method": (headers_of(method="PUT"), "the signature"),
    "another path": (headers_of(path="/v1/certify"), "the signature"),
    "another region": (replaced(headers_of(), "eu-west-1", "eu-west-2"), "the signature"),
    "another day": (replaced(headers_of(), time.strftime("%Y%m%d/", time.gmtime()), "20200101/"), "5 minutes"),
    "no date": (changed(headers_of(), "x-amz-date", ""), "expected x-amz-date"),
    "a date of words": (changed(headers_of(), "x-amz-date", "now"), "expected x-amz-date"),
    "the target not signed": (replaced(headers_of(), ";x-amz-target", ""), "among the signed headers"),
    "the host not signed": (replaced(headers_of(), "host;", ""), "among the signed headers"),
    "nothing": ({}, "expected a request that is signed"),
    "a bearer": ({"authorization": "Bearer alice-key"}, "expected a request that is signed"),
    "a signature of 63 digits": (changed(headers_of(), "authorization", headers_of()["authorization"][:-1]), "is signed"),
    "a body that is not hashed": (headers_of(**{"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}), "the body does not match"),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "says"), FORGED.values(), ids=FORGED.keys())
def test_what_is_forged_is_refused(headers, says):
    with pytest.raises(Refused, match=says) as refused:
        check(headers, later=SIGNED - time.time())
    assert refused.value.status == 401
    assert SECRET not in str(refused.value)


def test_another_body_or_query_is_refused():
    for body, query in ((BODY + b" ", ""), (b"", ""), (BODY, "X=1")):
        with pytest.raises(Refused, match="the signature"):
            check(headers_of(), body, query=query)
