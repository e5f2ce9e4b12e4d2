"""Witnesses: a time stamp before the beacon's round, and the round in the key; anything else is not witnessed, or false.

The authority is made here with openssl, the beacon has a key of this test's own.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from dsmooth import RemoteClassifier, SmoothedClassifier, open_images
from dsmooth.errors import BadParameter, Disproved, WitnessAwaited
from dsmooth.records.beacon import QUICKNET, Beacon, Round, read_beacon
from dsmooth.records.certificate_file import read_certificate, write_certificates
from dsmooth.records.store import read_run
from dsmooth.records.witness import Commitment, key_line
from dsmooth.runs.certify import certify_run
from dsmooth.runs.recertify import recertify
from dsmooth.runs.verify import Outcome, read_evidence, verify_evidence
from dsmooth.runs.witnessing import standing_of
from dsmooth.services.gate import Limits
from dsmooth.services.voting import LabelMap
from dsmooth.smoothing.chunks import MasterKey
from services.servers import Brain, Server, brightness
from support import Linear, dsmooth

_LIMIT = sys.getrecursionlimit()
pytest.importorskip("rfc3161_client", reason="time stamps are read with rfc3161-client (extra witness)")
curve = pytest.importorskip("py_ecc.optimized_bls12_381", reason="beacons are checked with py_ecc (extra witness)")
# py_ecc raises it for the whole process, in which other tests read JSON that is nested too deeply.
sys.setrecursionlimit(_LIMIT)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the local authority is made with openssl")

SECRET = 271828182845904523536
PIXELS = np.random.default_rng(0).integers(96, 170, (2, 3, 5, 3)).astype(np.uint8)


def chain(secret=SECRET, *, period=3, genesis=None):
    from py_ecc.bls.point_compression import compress_G2

    point = compress_G2(curve.multiply(curve.G2, secret))
    key = b"".join(part.to_bytes(48) for part in point).hex()
    return Beacon(key, period, int(time.time()) - 3000 if genesis is None else genesis)


def signed(number, secret=SECRET):
    from py_ecc.bls.hash_to_curve import hash_to_G1
    from py_ecc.bls.point_compression import compress_G1

    domain = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
    message = hash_to_G1(hashlib.sha256(number.to_bytes(8)).digest(), domain, hashlib.sha256)
    signature = compress_G1(curve.multiply(message, secret)).to_bytes(48)
    return Round(number, hashlib.sha256(signature).digest(), signature)


class Authority:
    """A time-stamp authority of openssl's, with a root of its own."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.roots = folder, folder / "ca.pem"
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self.openssl(
            "req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Root of a test", "-days", "9"
        )
        self.openssl("req", "-new", *new, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=Authority of a test")
        (folder / "extensions").write_text(
            "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE\n"
        )
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "9", "-extfile", "extensions")
        self.openssl("x509", "-req", "-in", "tsa.csr", *signing, "-out", "tsa.pem")
        (folder / "serial").write_text("01\n")
        (folder / "tsa.cnf").write_text(
            "[tsa]\ndefault_tsa=one\n[one]\nserial=serial\nsigner_cert=tsa.pem\nsigner_key=tsa.key\nsigner_digest=sha256\n"
            "default_policy=1.2.3.4\ndigests=sha256\naccuracy=secs:1\n"
        )

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], cwd=self.folder, check=True, capture_output=True, timeout=60)

    def stamp(self, run):
        place = run.absolute() / "witness"
        config = ("-config", "tsa.cnf", "-queryfile", place / "request.tsq", "-out", place / "token.tsr")
        self.openssl("ts", "-reply", *config)

    def __hash__(self):
        return id(self)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority") / "one")


def begin(folder, beacon, *, count=1, **options):
    np.savez(folder / "images.npz", images=PIXELS[:count], labels=list(range(count)))
    images, smoothed = open_images(folder / "images.npz"), SmoothedClassifier(Linear(), None, 0.3, batch=16)
    with smoothed:
        return certify_run(smoothed, images, folder / "run", n=200, witness=beacon, **options)


def answered(folder, beacon, authority, *, count=1, late=False, **options):
    """A run with its witness beside it, not gone on with yet; `late`: stamped when the round had come."""
    with pytest.raises(WitnessAwaited):
        begin(folder, beacon, count=count, **options)
    run = folder / "run"
    number = json.loads((run / "witness" / "commitment.json").read_text())["round"]
    while late and datetime.now(UTC) < beacon.time_of(number):
        time.sleep(0.1)
    authority.stamp(run)
    (run / "witness" / "round.json").write_text(json.dumps(signed(number).to_json()))
    return run


@pytest.fixture(scope="module")
def base(tmp_path_factory, authority):
    """Two finished runs, of one and of two images, under one beacon."""
    beacon = chain()
    made = {}
    for count in (1, 2):
        folder = tmp_path_factory.mktemp(f"of-{count}")
        answered(folder, beacon, authority, count=count)
        made[count] = begin(folder, beacon, count=count, resume=True)
    return beacon, made


def judged(path, authority, beacon):
    return standing_of(read_evidence(path), authority.roots.read_bytes(), beacon)


def rewritten(run, folder, name, content):
    """A copy of a run with another file in its folder for witnesses."""
    copy = shutil.copytree(run, folder / "copy")
    (copy / "witness" / name).write_bytes(content)
    return copy


# --- the beacon -------------------------------------------------------------------------------------------------------


def test_quicknet_is_the_chain_of_its_hash():
    group = bytes.fromhex("f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e")
    told = QUICKNET.period.to_bytes(4) + QUICKNET.genesis_time.to_bytes(8) + bytes.fromhex(QUICKNET.public_key) + group
    digest = hashlib.sha256(told + b"quicknet").hexdigest()
    assert digest == "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"


def test_a_published_round_of_quicknet_is_signed_and_no_other_is():
    signature = "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"
    randomness = "fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd"
    told = {"round": 1000, "randomness": randomness, "signature": signature}
    published = Round.from_json(told)
    assert published.signed(QUICKNET) is True
    assert Round.from_json({**told, "round": 1001}).signed(QUICKNET) is False
    assert published.signed(chain()) is False
    assert Round(7, hashlib.sha256(b"\xff" * 48).digest(), b"\xff" * 48).signed(QUICKNET) is False
    with pytest.raises(Disproved, match="is not the SHA-256"):
        Round.from_json({**told, "randomness": "00" * 32})


def test_the_library_of_the_beacon_leaves_the_limit_of_recursion():
    """With py_ecc's, deep JSON from strangers would end the process instead of being refused."""
    code = (
        "import hashlib, sys; from dsmooth.records.beacon import QUICKNET, Round; limit = sys.getrecursionlimit();"
        "wrong = bytes(range(48)); assert Round(1, hashlib.sha256(wrong).digest(), wrong).signed(QUICKNET) is False;"
        "assert 'py_ecc' in sys.modules and sys.getrecursionlimit() == limit"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_rounds_come_when_they_should():
    beacon = Beacon(QUICKNET.public_key, 3, 1000)
    for seconds in (0.0, 999.5, 1000.0, 1000.5, 1003.0, 1004.0):
        moment = datetime.fromtimestamp(seconds, UTC)
        number = beacon.round_after(moment)
        assert beacon.time_of(number) >= moment
        assert number == 1 or beacon.time_of(number - 1) < moment


@pytest.mark.parametrize(
    "told", ["[]", "{}", "[" * 5000, '{"schemeID": "bls-unchained-g1-rfc9380", "public_key": "zz"}', "\0"]
)
def test_what_is_no_chain_is_refused(tmp_path, told):
    (tmp_path / "chain.json").write_text(told)
    with pytest.raises(BadParameter, match=r"chain\.json"):
        read_beacon(tmp_path / "chain.json")


# --- the key ----------------------------------------------------------------------------------------------------------


def test_the_key_of_the_noise_is_that_of_the_master_key_and_the_randomness():
    key = MasterKey(bytes(range(32)), "os")
    mixed = key.witnessed(b"\1" * 32)
    assert mixed.commitment == key.commitment
    other = hashlib.blake2b(bytes(range(32)) + b"\1" * 32, digest_size=32, person=b"dsmooth.witness").digest()
    asked = SmoothedClassifier(Linear(), None, 0.3, batch=16).question(n=10)
    assert mixed.streams(asked, "0" * 64) == MasterKey(other, "os").streams(asked, "0" * 64)
    assert mixed.streams(asked, "0" * 64) != key.streams(asked, "0" * 64)


# --- runs -------------------------------------------------------------------------------------------------------------


@needs_openssl
def test_a_witnessed_run_waits_and_is_witnessed(tmp_path, authority):
    beacon = chain()
    with pytest.raises(WitnessAwaited):
        begin(tmp_path, beacon)
    place = tmp_path / "run" / "witness"
    held = {path.name: path.read_bytes() for path in place.iterdir()}
    assert held.keys() == {"commitment.json", "request.tsq"}
    assert not (tmp_path / "run" / "records.jsonl").exists() or not (tmp_path / "run" / "records.jsonl").read_bytes()
    with pytest.raises(WitnessAwaited):  # asked again, it waits for the same
        begin(tmp_path, beacon, resume=True)
    assert held == {path.name: path.read_bytes() for path in place.iterdir()}
    authority.stamp(tmp_path / "run")
    number = json.loads(held["commitment.json"])["round"]
    (place / "round.json").write_text(json.dumps(signed(number).to_json()))
    run = begin(tmp_path, beacon, resume=True)
    assert run.records[0].key["witness"] == hashlib.sha256(held["commitment.json"]).hexdigest()
    found = judged(run.folder, authority, beacon)
    assert found.witnessed, found
    assert "commitments made in parallel remain possible" in found.text
    checks = list(verify_evidence(read_evidence(run.folder), None, found))
    assert {check.what: check.outcome for check in checks}["key"] is Outcome.HOLDS
    assert "not checked here" in key_line(run.header, run.question.law)


@needs_openssl
def test_without_roots_or_beacon_it_is_not_witnessed(base, authority, tmp_path):
    beacon, runs = base
    evidence = read_evidence(runs[1].folder)
    for roots, trusted in ((None, beacon), (authority.roots.read_bytes(), QUICKNET)):
        found = standing_of(evidence, roots, trusted)
        assert "not witnessed" in found.text
        assert not found.witnessed
        assert not found.false
    with pytest.raises(BadParameter, match="root certificates"):
        standing_of(evidence, b"nothing", beacon)


@needs_openssl
def test_where_no_library_checks_the_beacon_it_is_not_witnessed(base, authority, monkeypatch):
    beacon, runs = base
    monkeypatch.setitem(sys.modules, "py_ecc.bls.hash_to_curve", None)
    found = judged(runs[1].folder, authority, beacon)
    assert found.text.startswith("time-stamped, beacon's signature not checked")
    assert "not witnessed" in found.text
    assert not found.witnessed


@needs_openssl
def test_one_certificate_of_several_is_not_witnessed_and_an_only_one_is(base, authority, tmp_path):
    beacon, runs = base
    for count, run in runs.items():
        for path in write_certificates(run, tmp_path / str(count)):
            assert read_certificate(path).text() == path.read_text()
            found = judged(path, authority, beacon)
            assert found.witnessed is (count == 1), found
            assert not found.false
            checks = verify_evidence(read_evidence(path), None, found)
            assert {check.what: check.outcome for check in checks}["key"] is Outcome.HOLDS
    assert judged(runs[2].folder, authority, beacon).witnessed


# --- certified again --------------------------------------------------------------------------------------------------


@needs_openssl
def test_what_is_certified_again_keeps_the_witness_of_its_votes(tmp_path, authority):
    """The same question is witnessed as it was; another one is said to be chosen afterwards, or is a false witness."""
    beacon = chain()
    np.savez(tmp_path / "images.npz", images=PIXELS, labels=[0, 1])
    images, rule = open_images(tmp_path / "images.npz"), LabelMap({"dark": ["dark"], "light": ["light"]})
    with Server(Brain(brightness)) as server:
        remote = RemoteClassifier(f"{server.url}/x", rule=rule, limits=Limits(concurrency=8, time_limit=2.0))

        def certify(**options):
            return certify_run(SmoothedClassifier(remote, None, 0.5), images, tmp_path / "run", n0=5, n=30, **options)

        with pytest.raises(WitnessAwaited):
            certify(witness=beacon)
        assert server.brain.queries == 0
        authority.stamp(tmp_path / "run")
        number = Commitment.from_json(read_run(tmp_path / "run").header).round
        (tmp_path / "run" / "witness" / "round.json").write_text(json.dumps(signed(number).to_json()))
        certify(witness=beacon, resume=True)
        remote.close()
        asked = server.brain.queries

    def checked(name, **changes):
        again = recertify(tmp_path / "run", out=tmp_path / name, **changes).write(tmp_path / name)
        evidence = read_evidence(again.folder)
        checks = verify_evidence(evidence, images, judged(again.folder, authority, beacon))
        return evidence, {check.what: check for check in checks}

    evidence, same = checked("same")
    assert judged(tmp_path / "same", authority, beacon).witnessed
    assert {check.outcome for check in same.values()} == {Outcome.HOLDS}
    assert evidence.witness == read_evidence(tmp_path / "run").witness
    evidence, other = checked("other", alpha=0.05, n=20)
    assert other["key"].outcome is Outcome.HOLDS
    assert other["claim"].outcome is Outcome.OPEN
    assert "chosen after the votes" in other["claim"].detail
    for record in evidence.records:  # as if it had been asked so from the beginning
        told = replace(record, asked=record.evaluated, evaluated=None)
        forged = replace(evidence, records=[told])
        found = standing_of(forged, authority.roots.read_bytes(), beacon)
        assert found.false
        assert "other settings" in found.text
        checks = {check.what: check for check in verify_evidence(forged, None, found)}
        assert checks["key"].outcome is Outcome.FAILS
    assert server.brain.queries == asked


# --- forgeries --------------------------------------------------------------------------------------------------------


@needs_openssl
@pytest.mark.parametrize("place", [60, 200, 400, 700, -5])
def test_a_changed_token_is_false(base, authority, tmp_path, place):
    beacon, runs = base
    token = bytearray((runs[1].folder / "witness" / "token.tsr").read_bytes())
    token[place] ^= 1
    assert judged(rewritten(runs[1].folder, tmp_path, "token.tsr", bytes(token)), authority, beacon).false


@needs_openssl
def test_tokens_of_others_and_about_others_are_false(base, authority, tmp_path):
    beacon, runs = base
    stranger = Authority(tmp_path / "stranger")
    copy = shutil.copytree(runs[1].folder, tmp_path / "self-stamped")
    stranger.stamp(copy)
    assert "not signed by an authority under the given roots" in judged(copy, authority, beacon).text
    about = (runs[2].folder / "witness" / "token.tsr").read_bytes()
    found = judged(rewritten(runs[1].folder, tmp_path, "token.tsr", about), authority, beacon)
    assert found.false
    for nothing in (b"", b"\x30\x03\x02\x01\x02"):
        (tmp_path / "copy" / "witness" / "token.tsr").write_bytes(nothing)
        assert judged(tmp_path / "copy", authority, beacon).false


@needs_openssl
def test_rounds_of_others_and_other_rounds_are_false(base, authority, tmp_path):
    beacon, runs = base
    number = Commitment.from_json(runs[1].header).round
    copy = shutil.copytree(runs[1].folder, tmp_path / "copy")
    for other, says in ((signed(number, secret=SECRET + 1), "did not sign"), (signed(number + 1), "as committed to")):
        (copy / "witness" / "round.json").write_text(json.dumps(other.to_json()))
        found = judged(copy, authority, beacon)
        assert found.false
        assert says in found.text
    told = signed(number).to_json()
    (copy / "witness" / "round.json").write_text(json.dumps({**told, "randomness": "00" * 32}))
    with pytest.raises(Disproved):
        read_evidence(copy)


@needs_openssl
def test_a_round_that_was_known_before_the_time_stamp_is_refused(tmp_path, authority):
    beacon = chain(period=1)
    run = answered(tmp_path, beacon, authority, late=True, witness_in=timedelta(seconds=1))
    with pytest.raises(Disproved, match="is not before the beacon's round"):
        begin(tmp_path, beacon, resume=True)
    assert not (run / "end.json").exists()


@needs_openssl
def test_another_question_other_images_and_another_key_are_false(base, authority, tmp_path):
    """A witness is moved to another run, whose header is made to say that it is its own."""
    beacon, runs = base
    evidence = read_evidence(runs[1].folder)
    witness = evidence.witness
    for change, says in (
        ({"question": {**witness.commitment.question, "alpha": 0.01}}, "other settings"),
        ({"key": "0" * 64}, "another key"),
        ({"data": "0" * 64}, "other images"),
    ):
        moved = replace(witness, commitment=replace(witness.commitment, **change))
        found = standing_of(replace(evidence, witness=moved), authority.roots.read_bytes(), beacon)
        assert found.false
        assert says in found.text


@needs_openssl
def test_records_without_their_witness_fail(base, tmp_path):
    _, runs = base
    copy = shutil.copytree(runs[1].folder, tmp_path / "copy")
    (copy / "witness" / "token.tsr").unlink()
    checks = {check.what: check for check in verify_evidence(read_evidence(copy), None)}
    assert checks["key"].outcome is Outcome.FAILS
    assert "different witness" in checks["key"].detail


# --- by command -------------------------------------------------------------------------------------------------------


@needs_openssl
def test_by_command(tmp_path, authority, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linear_for_test.py").write_text("from support import Linear\ndef model():\n    return Linear()\n")
    np.savez("images.npz", images=PIXELS[:1], labels=[1])
    (tmp_path / "chain.json").write_text(json.dumps(chain().to_json()))
    network = ("-c", "import:linear_for_test:model")
    certify = ("certify", "images.npz", *network, "-d", "none", "--n", 200)
    asked = (*certify, "--out", "run", "--witness", "--beacon", "chain.json")
    done = dsmooth(*asked)
    assert done.code == 3, done.out + done.err
    assert [line.split()[0] for line in done.out.splitlines()] == ["before", "after"]
    authority.stamp(tmp_path / "run")
    number = json.loads((tmp_path / "run" / "witness" / "commitment.json").read_text())["round"]
    (tmp_path / "run" / "witness" / "round.json").write_text(json.dumps(signed(number).to_json()))
    done = dsmooth(*asked, "--resume")
    assert done.code == 0, done.out + done.err
    assert "key stated to be witnessed" in done.out
    checked = ("verify", "run", "--images", "images.npz", *network, "--all", "--beacon", "chain.json")
    done = dsmooth(*checked, "--timestamp-roots", authority.roots)
    assert done.code == 0, done.out + done.err
    assert "verified; key witnessed" in done.out.splitlines()[-1]
    assert "not witnessed" in dsmooth(*checked).out.splitlines()[-1]
    assert Authority(tmp_path / "stranger").roots.exists()
    assert dsmooth(*checked, "--timestamp-roots", tmp_path / "stranger" / "ca.pem").code == 1
    plain = dsmooth(*certify, "--out", "plain")
    assert "self-chosen key, not witnessed" in plain.out
