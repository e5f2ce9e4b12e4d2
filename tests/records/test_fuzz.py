"""Whatever bytes stand in a run folder, a certificate or an attack: read as what they were, or refused in one line."""

import contextlib
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmooth import SmoothedClassifier, open_images
from dsmooth.audit.attack import Attack, attack_run
from dsmooth.audit.findings import read_findings
from dsmooth.audit.pgd import Ascent
from dsmooth.errors import BadRun
from dsmooth.records.certificate_file import read_certificate, write_certificates
from dsmooth.records.digests import canonical_json, digest_json
from dsmooth.records.schema import Record, votes_from_json
from dsmooth.records.sidecar import read_sidecar
from dsmooth.records.store import read_run
from dsmooth.runs.certify import certify_run
from support import Linear


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    pixels = np.random.default_rng(0).integers(96, 170, (2, 4, 4, 3)).astype(np.uint8)
    np.savez(folder / "images.npz", images=pixels, labels=[0, 1])
    smoothed, images = SmoothedClassifier(Linear(), None, 0.3), open_images(folder / "images.npz")
    run = certify_run(smoothed, images, folder / "run", n=40)
    attack_run(run, images, smoothed, Attack(ascent=Ascent(2, 2), strengths=(0.1,), n=20))
    write_certificates(run, folder / "certificates")
    shutil.copytree(folder, folder.with_name("spoilt"))
    return folder


TARGETS = {
    "run/run.json": lambda folder: read_run(folder / "run"),
    "run/records.jsonl": lambda folder: read_run(folder / "run"),
    "run/end.json": lambda folder: read_run(folder / "run"),
    "run/votes/000000.votes": lambda folder: [
        list(read_sidecar(folder / "run", record.votes, 140)) for record in read_run(folder / "run").records
    ],
    "run/attack/attack.jsonl": lambda folder: read_findings(folder / "run" / "attack"),
    "certificates/000001.json": lambda folder: read_certificate(folder / "certificates" / "000001.json").record,
}
PIECES = [b"", b"\0", b"\n", b'"', b"{", b"}", b"[", b",", b"-", b"1e999", b"NaN", b"null", b"true", b"9" * 400, b"\xff\xfe",
          b"[" * 5000, b'"schema":1,', b"0.5", b"\\ud800"]  # fmt: skip


def spoil(data, whole):
    """A few cuts, swaps and insertions at random places."""
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(whole)))
        end = data.draw(st.sampled_from((start, start + 1, start + 7, len(whole))))
        whole = whole[:start] + data.draw(st.sampled_from(PIECES) | st.binary(max_size=4)) + whole[end:]
    return whole


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60)
@given(data=st.data())
def test_spoilt_files_are_refused_or_say_what_they_said(base, name, data):
    folder = base.with_name("spoilt")
    good = (base / name).read_bytes()
    bad = data.draw(st.binary(max_size=200)) if data.draw(st.integers(0, 9)) == 0 else spoil(data, good)
    (folder / name).write_bytes(bad)
    try:
        found = TARGETS[name](folder)
    except BadRun:
        return
    finally:
        (folder / name).write_bytes(good)
    expected = TARGETS[name](base)
    if name == "certificates/000001.json":
        assert found == expected
    elif name == "run/records.jsonl":  # the end is sealed: nothing can be cut off
        assert found.records == expected.records
    elif name == "run/votes/000000.votes":
        assert found == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100)
@given(data=st.data())
def test_a_field_of_any_type_is_refused(base, data):
    """Also where the digest was made to fit."""
    line = (base / "run" / "records.jsonl").read_text().splitlines()[0]
    value = json.loads(line)
    name = data.draw(st.sampled_from(sorted(value)))
    value[name] = data.draw(JSON)
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        text.encode()
        with contextlib.suppress(TypeError, ValueError):
            text = canonical_json({**value, "digest": digest_json({**value, "digest": ""})})
        record = Record.parse(text)
    except UnicodeEncodeError:
        return
    except BadRun:
        return
    assert record.line() == text


@given(JSON)
def test_votes_of_any_type_are_votes_or_refused(value):
    for votes in (
        value,
        {"counts": value, "missing": 0, "trials": 1},
        {"counts": [[1, value]], "missing": value, "trials": 9},
    ):
        try:
            read = votes_from_json(votes)
        except BadRun:
            continue
        assert read.trials == votes["trials"]
