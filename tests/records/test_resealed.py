"""Runs and certificates that were changed and sealed again, every digest, chain and end made to fit.

None ends in a traceback, whoever reads it; and none that claims something else is verified by who has networks and images.
"""

import base64
import copy
import hashlib
import json
import random
import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

from dsmooth import Mode, SmoothedClassifier, TorchClassifier, open_images
from dsmooth.errors import DsmoothError
from dsmooth.records.certificate_file import CertificateFile, read_certificate, write_certificates
from dsmooth.records.certificate_schema import spelled
from dsmooth.records.question import Question, Role
from dsmooth.records.schema import Record, certificate_of, radius_text
from dsmooth.records.sidecar import SidecarWriter, read_sidecar
from dsmooth.records.store import read_run
from dsmooth.report.export import markdown_table, tsv
from dsmooth.report.page import page_of
from dsmooth.report.summary import summarise
from dsmooth.runs.certify import certify_run
from dsmooth.runs.replay import replayed
from dsmooth.runs.verify import Outcome, read_evidence, verify_evidence
from support import Linear

FEW, MANY = 300, 10_000
DEEP = "deeply nested"
MODES = {"fixed": Mode(), "curve": Mode("curve", (0.0, 0.1, 0.3)), "radius": Mode("radius", price=1e-3)}
STRANGE = [None, True, False, 0, 1, -1, 2, 10**12, 10**30, 10**400, 0.0, -0.0, 0.5, 1e-300, 1e300, 0.25, "", "0", "inf",
           "nan", "é", "\ud800", "\0", "../../etc/passwd",
           "a" * 5000, "0" * 32, "0" * 64, [], [[]], [0], ["0"], {}, {"a": []},
           {"name": "uniform", "levels": 3}, {"name": "gaussian", "sigma": 0.5}, {"name": "curve", "radii": [0.1]},
           "radius", "cohen", "multiclass-0.5", "bf16", "openvino", "prediction"]  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Small runs of each mode with the certificates of each, and the images."""
    folder = tmp_path_factory.mktemp("resealed")
    pixels = np.random.default_rng(0).integers(96, 170, (3, 3, 5, 3)).astype(np.uint8)
    pixels[2] = 150  # the one that is surely certified
    np.savez(folder / "images.npz", images=pixels, labels=[0, 1, 1])
    with SmoothedClassifier(Linear(), None, 0.3, batch=8, workers=1, backend="eager") as smoothed:
        for name, mode in MODES.items():
            run = certify_run(smoothed, open_images(folder / "images.npz"), folder / name, n0=20, n=150, mode=mode)
            write_certificates(run, folder / f"{name}-certificates")
    return folder


def dumped(value):
    """The one spelling; also of what no JSON should hold."""
    return deepened(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def deepened(text):
    """The same with deeply nested lists, which Python's own writer refuses."""
    return text.replace(f'"{DEEP}"', "[" * 20_000 + "]" * 20_000)


def digest(value):
    return hashlib.sha256(dumped(value).encode(errors="surrogatepass")).hexdigest()


def places(value, path=()):
    """The address of every part of a JSON value."""
    if path:
        yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from places(part, (*path, key))


def mutate(rng, value, others):
    """One part is another value, is left out, stands twice or under another name."""
    path = rng.choice(list(places(value)))
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    key, old = path[-1], holder[path[-1]]
    kind = rng.choice(["strange", "strange", "near", "near", "near", "other", "less", "more", "deep"])
    if kind == "near" and isinstance(old, int) and not isinstance(old, bool):
        holder[key] = rng.choice([old - 1, old + 1, 2 * old, -old, float(old), str(old), bool(old)])
    elif kind == "near" and isinstance(old, float):
        holder[key] = rng.choice([old / 2, old * 2, old * (1 + 1e-15), -old, int(old), str(old)])
    elif kind == "near" and isinstance(old, str) and old:
        place = rng.randrange(len(old))
        holder[key] = old[:place] + rng.choice(["0", "1", "f", "9", "", "x"]) + old[place + 1 :]
    elif kind == "near" and isinstance(old, list) and old:
        rng.shuffle(old)
    elif kind == "other":
        twin = others
        for step in path:  # the same part of another record
            twin = twin[step] if isinstance(twin, dict) and step in twin else None
        holder[key] = copy.deepcopy(twin)
    elif kind == "less":
        del holder[key]
    elif kind == "more" and isinstance(holder, list):
        holder.append(copy.deepcopy(old))
    elif kind == "more":
        holder[f"{key}2"] = copy.deepcopy(old)
    elif kind == "deep" and rng.random() < 0.05:
        holder[key] = DEEP
    else:
        holder[key] = copy.deepcopy(rng.choice(STRANGE))
    return path


TERMS = [
    {"alpha": 0.05}, {"alpha": 0.2}, {"norm": 1.0}, {"norm": "inf"}, {"bound": "cohen"}, {"bound": "multiclass-0.5"},
    {"n": 149}, {"n0": 19}, {"law": {"name": "gaussian", "sigma": 0.6}}, {"law": {"name": "uniform", "levels": 255}},
    {"dtype": "bf16"}, {"mode": {"name": "curve", "radii": [0.3]}}, {"mode": {"name": "decision", "radii": [0.1]}},
    {"mode": {"name": "fixed"}},
    {"classifier": "0" * 64}, {"denoiser": "0" * 64}, {"preparation": "cut"}, {"batch_size": 9}, {"generator": "dice"},
]  # fmt: skip


def with_votes(rng, value, folder):
    """Other votes, and the counts that follow from them: invented, exchanged, prefixes."""
    first, later = value["selection"]["trials"], value["estimation"]["trials"]
    label = rng.choice([0, 1, "cat", 7])
    if rng.random() < 0.4:  # a few of those that were given
        votes = list(read_sidecar(folder, value["votes"], first + later))
        for place in rng.sample(range(first + later), rng.choice([1, 2, 4, 8])):
            votes[place] = label
    else:
        lie = rng.random()
        votes = [label if rng.random() < lie else rng.choice([0, 1, None]) for _ in range(first + later)]
    if rng.random() < 0.3:
        votes = votes[: rng.randrange(first, first + later + 1)]
    (folder / "votes").mkdir(exist_ok=True)
    writer = SidecarWriter(folder / "votes" / value["votes"]["file"].rpartition("/")[2])
    writer.add(votes)
    value["votes"] = writer.close()

    def counted(part):
        counts = {vote: part.count(vote) for vote in part if vote is not None}
        ranked = sorted(counts.items(), key=lambda item: (-item[1], str(type(item[0])), item[0]))
        return {"counts": [list(pair) for pair in ranked], "missing": part.count(None), "trials": len(part)}

    value["selection"], value["estimation"] = counted(votes[:first]), counted(votes[first:])
    if value["reached"] is not None:
        value["reached"] = counted(votes[first : first + rng.randrange(later + 1)])
    value["drawn"] = max(value["drawn"], len(votes))


def claim_of(value):
    """Answer and radius that follow from what a record says now; as they are where nothing does."""
    try:
        asked = {name: Question.from_json(value[name]) if value[name] else None for name in ("asked", "evaluated")}
        tuples = {name: tuple(value[name]) for name in ("shape", "decoding", "batch")}
        certificate = certificate_of(Record(**{**value, **asked, **tuples}))
        return {"answer": certificate.answer, "radius": radius_text(certificate.radius)}
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return {}


def sealed(value, previous):
    """Previous and own digest fit, as far as there can be one."""
    value = {**value, "previous": previous, "digest": ""}
    return {**value, "digest": digest(value)}


class Mutants:
    """Runs and certificates, changed at random places and sealed again: the same ones each time."""

    def __init__(self, base, folder):
        self.base, self.folder = base, folder
        self.made = {name: self._parts(name) for name in MODES}

    def _parts(self, name):
        source = self.base / name
        head = json.loads((source / "run.json").read_text())
        records = [json.loads(line) for line in (source / "records.jsonl").read_text().splitlines()]
        return head, records, json.loads((source / "end.json").read_text())

    def make(self, number):
        """Mutant so many: the path to be verified, and its name."""
        rng = random.Random(number)
        mode = rng.choice(list(MODES))
        head, records, end = copy.deepcopy(self.made[mode])
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.base / mode, self.folder)
        said = []
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            i = rng.randrange(3)
            what = rng.choice(["record", "record", "record", "terms", "votes", "label", "head", "end", "drop"])
            if what == "record":
                said.append((i, mutate(rng, records[i], records[i - 1])))
            elif what == "terms":
                terms = rng.choice(TERMS)
                said.append(terms)
                for question in [head.get("question"), *(record.get("asked") for record in records)]:
                    if isinstance(question, dict):
                        question.update(copy.deepcopy(terms))
            elif what == "votes":
                try:
                    with_votes(rng, records[i], self.folder)
                    said.append((i, "votes"))
                except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, DsmoothError):
                    pass  # an earlier change left no votes to be exchanged
            elif what == "label":
                records[i]["label"] = rng.choice([0, 1, 2, None])
            elif what == "head":
                said.append(("run.json", mutate(rng, head, head)))
            elif what == "drop":
                del records[rng.randrange(len(records))]
                if not records:
                    records = [copy.deepcopy(self.made[mode][1][0])]
                records = [{**record, "index": place} for place, record in enumerate(records)]
                head["images"] = len(records)
                i = 0
            else:
                said.append(("end.json", mutate(rng, end, end)))
            if len(records) < 3:
                break
        if rng.random() < 0.8:
            records = [{**record, **claim_of(record)} for record in records]
        if rng.random() < 0.25:
            return self._certificate(rng, mode, records, end), (number, mode, said)
        text = (
            deepened(json.dumps(head, indent=2, ensure_ascii=rng.random() < 0.5)).encode(errors="surrogatepass") + b"\n"
        )
        (self.folder / "run.json").write_bytes(text)
        previous, lines = hashlib.sha256(text).hexdigest(), []
        for record in records:
            lines.append(sealed(record, previous))
            previous = lines[-1]["digest"]
        data = "".join(f"{dumped(line)}\n" for line in lines)
        (self.folder / "records.jsonl").write_bytes(data.encode(errors="surrogatepass"))
        end = {**end, **({"records": len(lines), "last": previous} if rng.random() < 0.9 else {})}
        (self.folder / "end.json").write_text(dumped(end), errors="surrogatepass")
        return self.folder, (number, mode, said)

    def _certificate(self, rng, mode, records, end):
        i = rng.randrange(len(records))
        record = sealed(records[i], records[i].get("previous", ""))
        given = json.loads((self.base / f"{mode}-certificates" / f"{i:06d}.json").read_text())
        try:
            packed = (self.folder / record["votes"]["file"]).read_bytes()
        except (LookupError, OSError, TypeError, ValueError):
            packed = b""
        claim = given["claim"] | {"label": record.get("answer"), "radius": record.get("radius")}
        try:
            question = record["evaluated"] or record["asked"]
            claim |= {name: spelled(question[name]) for name in ("alpha", "norm")}
            claim["chosen_afterwards"] = record["evaluated"] is not None
            told = spelled(record)
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
            told = given["record"]
        value = {
            **given,
            "claim": claim,
            "record": told,
            "votes": base64.b64encode(packed).decode(),
            "key": end.get("key"),
        }
        if rng.random() < 0.2:
            mutate(rng, value, value)
        path = self.folder / "certificate.json"
        path.write_text(dumped(value), errors="surrogatepass")
        return path


def claims(records):
    """What is claimed of each image, and the radius: of the question, circumstances are left out, which a replay repeats."""
    return {
        dumped(
            [r.name, r.image, r.answer, r.label, r.chosen_afterwards, r.question.to_json(Role.SUBJECT, Role.CLAIM)]
        ): (
            r.name,
            float(r.radius),
        )
        for r in records
    }


@contextmanager
def refused_in_one_line():
    """Anything but a DsmoothError of one line goes through."""
    try:
        yield
    except DsmoothError as error:
        assert len(str(error).splitlines()) == 1, error  # noqa: PT017


def everybody_reads(path, out, *, page):
    """Everything that reads runs or certificates; a page takes as long as twenty mutants."""
    if path.is_file():
        one = read_certificate(path)
        assert CertificateFile(one.record, one.packed, one.key, one.name).text()
        return
    run = read_run(path)
    with refused_in_one_line():
        summary = summarise([run])
        assert markdown_table(summary)
        assert not page or page_of(summary)
        assert "".join(tsv(run))
    with refused_in_one_line():
        shutil.rmtree(out, ignore_errors=True)
        write_certificates(run, out)


def judge(path, images, true):
    """Whether something is claimed that was not certified; the names of its records as far as they are not verified."""
    evidence = read_evidence(path)
    said = claims(evidence.records)
    false = {
        name: true.get(claim, (name, -1.0))[1]
        for claim, (name, radius) in said.items()
        if radius > true.get(claim, ("", -1.0))[1]
    }
    checks = [*verify_evidence(evidence, images)]
    if false and not any(check.outcome is Outcome.FAILS for check in checks):  # only then are networks needed
        checks += replayed(evidence, images, TorchClassifier(Linear()), None, 1.0)
    verified = not any(check.outcome in (Outcome.FAILS, Outcome.OPEN) for check in checks)
    if verified:  # votes that rounding may have changed are charged: less is verified than claimed
        for name, radius in re.findall(r"(\S+): verified within l\S+ (\S+)", checks[-1].detail):
            if float(radius) <= false.get(name, -1.0):
                del false[name]
    return bool(false), verified, checks


def try_mutants(base, tmp_path, numbers):
    """No traceback, and no false claim that is verified; how many were read to the end, and claimed something else."""
    images = open_images(base / "images.npz")
    true = {claim: told for mode in MODES for claim, told in claims(read_run(base / mode).records).items()}
    mutants = Mutants(base, tmp_path / "mutant")
    read = false = 0
    for number in numbers:
        path, made = mutants.make(number)
        try:
            with refused_in_one_line():
                everybody_reads(path, tmp_path / "certificates", page=number % 20 == 0)
            with refused_in_one_line():
                claimed, verified, checks = judge(path, images, true)
                read += 1
                false += claimed
                assert not (claimed and verified), checks
        except Exception as error:
            raise AssertionError(f"mutant {made}") from error
    return read, false


def test_a_few_mutants(base, tmp_path):
    read, false = try_mutants(base, tmp_path, range(FEW))
    assert read > FEW // 20  # of the others, digests, types or counts betray that they were changed
    assert false > FEW // 50


@pytest.mark.slow
def test_many_mutants(base, tmp_path):
    read, false = try_mutants(base, tmp_path, range(FEW, MANY))
    assert read > MANY // 20
    assert false > MANY // 50
