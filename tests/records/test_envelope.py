"""Signed certificate files: what is signed holds, and everything else does not."""

import base64
import json

import pytest

from dsmooth.errors import BadParameter, BadRun
from dsmooth.records.certificate_file import read_certificate
from dsmooth.records.envelope import PAYLOAD_TYPE, Envelope, SigningKey, generate, read_public_key
from support import dsmooth, refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("signed")
    for name in ("mine.pem", "other.pem"):
        assert dsmooth("keygen", made / name).code == 0
    import numpy as np

    np.savez(made / "images.npz", images=np.full((1, 8, 8, 3), 200, np.uint8))
    arguments = ["certify", made / "images.npz", "-c", "import:support:Linear", "-d", "none", "--n", "100"]
    assert dsmooth(*arguments, "-o", made / "run", "--certificates", made / "certificates").code == 0
    text = (made / "certificates" / "000000.json").read_bytes()
    (made / "signed.json").write_bytes(SigningKey(made / "mine.pem").sealed(text))
    return made


def verified(folder, file, *more):
    networks = ("--images", folder / "images.npz", "-c", "import:support:Linear", "-d", "none")
    return dsmooth("verify", folder / file, *networks, *more)


def test_a_signed_certificate_is_verified_with_and_without_its_key(folder):
    done = verified(folder, "signed.json", "--public-key", folder / "mine.pem.pub")
    assert done.code == 0, done.out
    assert "signed by ed25519:" in done.out
    done = verified(folder, "signed.json")
    assert done.code == 0
    assert "pass --public-key to check" in done.out
    plain = read_certificate(folder / "certificates" / "000000.json")
    assert read_certificate(folder / "signed.json").record == plain.record


def test_another_key_and_no_signature_do_not_hold(folder):
    done = verified(folder, "signed.json", "--public-key", folder / "other.pem.pub")
    assert done.code == 1
    assert "none of the signatures is by" in done.out
    done = verified(folder, "certificates/000000.json", "--public-key", folder / "mine.pem.pub")
    assert done.code == 1
    assert "it is not signed" in done.out


def test_the_bytes_that_were_signed_are_those_of_dsse(folder):
    """An oracle of its own: the encoding as DSSE's document writes it down, and cryptography's verification."""
    value = json.loads((folder / "signed.json").read_text())
    payload = base64.b64decode(value["payload"])
    text = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload
    key = read_public_key(folder / "mine.pem.pub")
    key.verify(base64.b64decode(value["signatures"][0]["sig"]), text)


def test_every_changed_byte_of_payload_and_signature_is_noticed(folder):
    value = json.loads((folder / "signed.json").read_text())
    key = read_public_key(folder / "mine.pem.pub")
    payload, signature = base64.b64decode(value["payload"]), base64.b64decode(value["signatures"][0]["sig"])
    assert Envelope(payload, (("", signature),)).signed_by(key)
    for i in range(0, len(payload), 97):
        changed = payload[:i] + bytes([payload[i] ^ 1]) + payload[i + 1 :]
        assert not Envelope(changed, (("", signature),)).signed_by(key)
    for i in range(len(signature)):
        changed = signature[:i] + bytes([signature[i] ^ 1]) + signature[i + 1 :]
        assert not Envelope(payload, (("", changed),)).signed_by(key)
    assert Envelope(payload, (("", b""), ("", signature))).signed_by(key)


@pytest.mark.parametrize(
    "change",
    [
        {"payloadType": "text/plain"}, {"payload": "*"}, {"payload": 5}, {"signatures": []}, {"signatures": [{"sig": ""}]},
        {"signatures": "x"}, {"more": 1}, {"signatures": [{"keyid": "a", "sig": "eA=="}] * 17}, {"payload": "eA=="},
    ],
)  # fmt: skip
def test_an_envelope_that_is_none(folder, tmp_path, change):
    value = json.loads((folder / "signed.json").read_text())
    (tmp_path / "x.json").write_text(json.dumps({**value, **change}))
    with pytest.raises(BadRun):
        read_certificate(tmp_path / "x.json")


def test_an_envelope_in_an_envelope_is_refused(folder, tmp_path):
    sealed = SigningKey(folder / "mine.pem").sealed((folder / "signed.json").read_bytes())
    (tmp_path / "x.json").write_bytes(sealed)
    with pytest.raises(BadRun, match="another envelope"):
        read_certificate(tmp_path / "x.json")


def test_keys(folder, tmp_path, monkeypatch):
    assert (folder / "mine.pem").stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadParameter, match="a key that is overwritten is lost"):
        generate(folder / "mine.pem")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none.pem").write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")
    with pytest.raises(BadParameter, match="expected a private key") as complaint:
        SigningKey(tmp_path / "none.pem")
    assert "hunter2" not in str(complaint.value)
    signed = folder / "signed.json"
    refused(tmp_path, "verify", signed, "--public-key", "none.pem", says="expected a public key")
    refused(tmp_path, "verify", signed, "--public-key", "nowhere.pem", says="expected a public key")
    refused(tmp_path, "verify", folder / "run", "--public-key", folder / "mine.pem.pub", says="runs are not signed")
    refused(tmp_path, "keygen", folder / "mine.pem", says="exists")
    refused(tmp_path, "keygen", tmp_path / "a" / "b.pem", says="cannot be written")
