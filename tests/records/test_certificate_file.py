"""Certificate files: closed, exact, and contradicted by every change."""

import hashlib
import json
import math
import zlib
from dataclasses import fields, replace

import jsonschema
import numpy as np
import pytest

from dsmooth import SmoothedClassifier, open_images
from dsmooth.errors import BadRun, Disproved
from dsmooth.records.certificate_file import VERSION, CertificateFile, read_certificate, write_certificates
from dsmooth.records.certificate_schema import certificate_schema, decimal
from dsmooth.records.question import Question
from dsmooth.records.schema import OPTIONAL, Record, certificate_of, radius_text
from dsmooth.records.store import read_run
from dsmooth.runs.certify import certify_run
from support import Linear, refused


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    pixels = np.random.default_rng(0).integers(96, 170, (3, 3, 5, 3)).astype(np.uint8)
    np.savez(folder / "images.npz", images=pixels, labels=[0, 1, 1])
    # 2 of 100,000 keys would give image 1 the unanimous votes that are a lie below
    return certify_run(
        SmoothedClassifier(Linear(), None, 0.3), open_images(folder / "images.npz"), folder / "run", n=60, seed=0
    )


@pytest.fixture
def path(run, tmp_path):
    return write_certificates(run, tmp_path / "certificates")[1]


def changed(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    return path


def test_one_file_an_image_that_reads_back_exactly(run, tmp_path):
    written = write_certificates(run, tmp_path / "c")
    assert [path.name for path in written] == ["000000.json", "000001.json", "000002.json"]
    for path, record in zip(written, run.records, strict=True):
        read = read_certificate(path)
        assert read.record == record
        assert read.key == run.key
        assert read.text() == path.read_text()


def test_the_schema_names_the_fields_of_a_record():
    schema = certificate_schema(VERSION)
    for part, kind in (
        (schema["properties"]["record"], Record),
        (schema["properties"]["record"]["properties"]["asked"], Question),
    ):
        names = {field.name for field in fields(kind)}
        assert part["properties"].keys() == names
        assert set(part["required"]) == names - OPTIONAL
    jsonschema.Draft202012Validator.check_schema(schema)

    def closed(part):
        if isinstance(part, dict):
            if part.get("type") == "object":
                assert "additionalProperties" in part, part
            for inner in part.values():
                closed(inner)

    closed(schema)


@pytest.mark.parametrize("value", [0.001, 1e-12, 0.1 + 0.2, 2.0, 5e-324, 1.7e30, math.inf])
def test_decimals_are_exact(value):
    text = decimal(value)
    assert float(text) == value
    assert "e" not in text


LIES = {
    "a larger radius": lambda c: c["claim"].update(radius="9.000000000"),
    "a larger radius, in the record too": lambda c: (
        c["claim"].update(radius="9.000000000"),
        c["record"].update(radius="9.000000000"),
    ),
    "another label": lambda c: c["claim"].update(label=7),
    "more certainty": lambda c: c["claim"].update(alpha="0.00001"),
    "another norm": lambda c: c["claim"].update(norm="inf"),
    "another image": lambda c: c["record"].update(image="0" * 64),
    "better counts": lambda c: c["record"]["estimation"].update(counts=[[1, 60]]),
    "more noise": lambda c: c["record"]["asked"]["law"].update(sigma="0.5"),
    "chosen before": lambda c: c["claim"].update(chosen_afterwards=True),
    "more attempts": lambda c: c["record"].update(attempt=7),
    "another key": lambda c: c["record"]["key"].update(commitment="0" * 64),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_lies_are_disproved(path, lie):
    with pytest.raises(Disproved, match=path.name):
        read_certificate(changed(path, lie))


def test_a_lie_with_a_digest_of_its_own_is_disproved_by_its_counts(run, tmp_path):
    asked = run.records[1].asked
    for claim in (
        {"radius": "9.000000000"},
        {"answer": 0, "radius": "0.100000000"},
        {"asked": replace(asked, n=61)},
        {"asked": replace(asked, alpha=0.5)},
        {"evaluated": replace(asked, alpha=0.5)},
    ):
        liar = replace(run.records[1], **claim).sealed(run.records[1].previous)
        path = tmp_path / "liar.json"
        path.write_text(CertificateFile(liar, b"", run.key, None).text())
        with pytest.raises(Disproved, match=r"follow from the counts|trials"):
            read_certificate(path)


OTHERS = {
    "no object": lambda c: [],
    "another version": lambda c: {**c, "schema": "dsmooth-certificate-9"},
    "a field more": lambda c: {**c, "note": "trust me"},
    "a field more in the record": lambda c: {**c, "record": {**c["record"], "note": 1}},
    "a field less": lambda c: {key: c[key] for key in c if key != "key"},
    "a float": lambda c: {**c, "claim": {**c["claim"], "radius": 0.25}},
    "NaN": lambda c: {**c, "claim": {**c["claim"], "alpha": math.nan}},
    "an exponent": lambda c: {**c, "claim": {**c["claim"], "alpha": "1e-3"}},
    "text for a count": lambda c: {**c, "record": {**c["record"], "drawn": "60"}},
    "true for a count": lambda c: {**c, "record": {**c["record"], "drawn": True}},
    "a huge count": lambda c: {**c, "record": {**c["record"], "drawn": 10**30}},
    "no base64": lambda c: {**c, "votes": "***"},
    "a short key": lambda c: {**c, "key": "00"},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_what_is_no_certificate_is_refused_in_one_line(path, other):
    path.write_text(json.dumps(other(json.loads(path.read_text()))))
    with pytest.raises(BadRun, match=path.name) as caught:
        read_certificate(path)
    assert not isinstance(caught.value, Disproved)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_certificates_are_refused(path, tmp_path):
    whole = path.read_text()
    twice = whole.replace('"schema": "dsmooth', '"schema": "dsmooth-certificate-2",\n "schema": "dsmooth')
    deep = "[" * 100_000
    for text in ("", whole[:-100], twice, deep, "9" * 5000, "null"):
        path.write_text(text)
        with pytest.raises(BadRun):
            read_certificate(path)
    path.write_bytes(b"\xff\xfe" + whole.encode())
    with pytest.raises(BadRun):
        read_certificate(path)
    with pytest.raises(BadRun, match="found none"):
        read_certificate(tmp_path / "nothing.json")


def test_a_run_with_a_secret_key_has_no_certificates_yet(run, tmp_path):
    with pytest.raises(BadRun, match="--resume"):
        write_certificates(replace(run, key=None), tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_the_end_of_a_run_is_sealed(run, tmp_path):
    import shutil

    def copy(name):
        return shutil.copytree(run.folder, tmp_path / name)

    cut = copy("cut")
    lines = (cut / "records.jsonl").read_bytes().splitlines(keepends=True)
    (cut / "records.jsonl").write_bytes(b"".join(lines[:-1]))
    with pytest.raises(Disproved, match="ended with 3 records, but now has 2"):
        read_run(cut)
    other = copy("other")
    end = json.loads((other / "end.json").read_text())
    (other / "end.json").write_text(json.dumps({**end, "key": "0" * 64}))
    with pytest.raises(Disproved, match="does not match the commitment made at the start"):
        read_run(other)
    for text in ("", "[]", '{"key": 5}', '{"key": "zz"}', json.dumps({**end, "more": 1})):
        (other / "end.json").write_text(text)
        with pytest.raises(BadRun, match=r"end\.json"):
            read_run(other)


@pytest.mark.parametrize("held", [10**6, 3 * 10**8], ids=["too few bytes", "bytes for all of them"])
def test_a_claim_of_hundreds_of_millions_of_votes_is_refused_before_they_are_unpacked(run, tmp_path, held):
    pack, block = zlib.compressobj(1), np.ones(10**6, "<u2").tobytes()
    packed = b"".join(pack.compress(block) for _ in range(held // 10**6)) + pack.flush()
    votes = {"counts": [[1, 3 * 10**8]], "missing": 0, "trials": 3 * 10**8}
    digest = {"labels": [1], "sha256": hashlib.sha256(packed).hexdigest()}
    record = replace(
        run.records[1], asked=replace(run.records[1].asked, n=3 * 10**8), estimation=votes, drawn=4 * 10**8,
        selection={"counts": [[1, 100]], "missing": 0, "trials": 100}, votes={**run.records[1].votes, **digest},
    )  # fmt: skip
    certificate = certificate_of(record)
    record = replace(record, answer=certificate.answer, radius=radius_text(certificate.radius)).sealed("0" * 64)
    (tmp_path / "a.json").write_text(CertificateFile(record, packed, run.key, None).text())
    refused(tmp_path, "verify", tmp_path / "a.json", says="at most 16,777,216 votes an image")
