import errno
import fcntl
import json
import os
from dataclasses import replace

import pytest

from dsmooth.errors import BadParameter, BadRun
from dsmooth.records.certificate_file import read_certificate
from dsmooth.records.digests import canonical_json, digest_json
from dsmooth.records.schema import Record, certificate_of, votes_from_json, votes_to_json
from dsmooth.records.sidecar import SidecarWriter, read_sidecar
from dsmooth.records.store import RunWriter, read_run
from dsmooth.theory.certifiers import Cohen
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.modes import FIXED, Mode
from dsmooth.theory.votes import Votes
from small_runs import HEADER, KEY, QUESTION, record, written


def test_a_run_reads_back_as_it_was_written(tmp_path):
    run = read_run(written(tmp_path / "run"))
    assert [r.name for r in run.records] == ["image-0.png", "image-1.png", "image-2.png"]
    assert run.records[1] == record(1).sealed(run.records[0].digest)
    assert len({r.previous for r in run.records}) == 3
    assert run.images == 3
    assert run.torn == 0


def test_a_torn_last_line_is_cut_off_and_said(tmp_path):
    folder = written(tmp_path / "run", 2)
    whole = (folder / "records.jsonl").read_bytes()
    (folder / "records.jsonl").write_bytes(whole + b'{"index": 2, "na')
    assert read_run(folder).torn == 16
    assert (folder / "records.jsonl").read_bytes() != whole  # reading changes nothing
    with RunWriter(folder, HEADER, KEY, resume=True) as writer:
        assert writer.torn == 16
        writer.append(record(2))
    run = read_run(folder)
    assert len(run.records) == 3
    assert run.torn == 0


def damage_text(line):
    return line.replace(b"image-1", b"image-X")


def damage_json(line):
    return b"{" + line


def damage_counts(line):
    return line.replace(b"[1,90]", b"[1,95]")


def damage_drop(line):
    return b""


def damage_field(line):
    value = json.loads(line)
    value["more"] = 1
    return json.dumps(value).encode()


def damage_spelling(line):
    return line.replace(b",", b", ", 1)


DAMAGES = [damage_text, damage_json, damage_counts, damage_drop, damage_field, damage_spelling]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_in_the_middle_is_refused_and_left_alone(tmp_path, damage):
    folder = written(tmp_path / "run")
    path = folder / "records.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[1] = damage(lines[1])
    path.write_bytes(b"\n".join(line for i, line in enumerate(lines) if line or i == len(lines) - 1))
    before = path.read_bytes()
    with pytest.raises(BadRun, match=r"records\.jsonl, byte \d+"):
        read_run(folder)
    with pytest.raises(BadRun, match=r"nothing was changed"):
        RunWriter(folder, HEADER, KEY, resume=True)
    assert path.read_bytes() == before


def test_every_changed_digit_of_the_last_line_is_noticed(tmp_path):
    folder = written(tmp_path / "run", 1)
    path = folder / "records.jsonl"
    line = path.read_bytes()
    digits = [i for i, byte in enumerate(line) if chr(byte).isdigit()]
    assert len(digits) > 100
    for i in digits:
        path.write_bytes(line[:i] + (b"7" if line[i : i + 1] != b"7" else b"3") + line[i + 1 :])
        with pytest.raises(BadRun):
            read_run(folder)


def test_a_record_says_what_follows_from_its_counts_or_is_refused(tmp_path):
    good, half_sigma = record().radius, record(2, asked={"law": Gaussian(0.5)})
    for i, wrong in enumerate(
        (record(radius="9.0", answer=1), record(radius=good, answer=0), record(asked={"n0": 99}), half_sigma, record(7))
    ):
        with RunWriter(tmp_path / str(i), HEADER, KEY, resume=False) as writer:
            writer.append(wrong)
        with pytest.raises(BadRun, match=r"expected|another law|no image of this run"):
            read_run(tmp_path / str(i))


def test_what_a_crash_leaves_before_the_first_record_can_be_resumed(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "lock").touch()
    (folder / ".run.json.4711").write_text('{"half')
    with RunWriter(folder, HEADER, KEY, resume=True) as writer:
        writer.append(record(0))
    assert len(read_run(folder).records) == 1


def test_a_run_that_came_while_waiting_for_the_lock_is_not_overwritten(tmp_path, monkeypatch):
    from dsmooth.records import store

    take_lock = store._locked

    def late(path):
        monkeypatch.setattr(store, "_locked", take_lock)
        written(path.parent)
        return take_lock(path)

    monkeypatch.setattr(store, "_locked", late)
    with pytest.raises(BadRun, match="already holds a run"):
        RunWriter(tmp_path / "run", HEADER, KEY, resume=False)
    assert len(read_run(tmp_path / "run").records) == 3


def test_a_changed_header_breaks_the_chain(tmp_path):
    folder = written(tmp_path / "run")
    header = (folder / "run.json").read_text()
    (folder / "run.json").write_text(header.replace('"images": 3', '"images": 9'))
    with pytest.raises(BadRun, match="does not follow"):
        read_run(folder)


def test_another_parameter_is_refused_with_both_values(tmp_path):
    folder = written(tmp_path / "run")
    other = {**HEADER, "question": replace(QUESTION, law=Gaussian(0.5)).to_json()}
    with pytest.raises(BadRun, match=r"made with law .*0\.25.*, not .*0\.5"):
        RunWriter(folder, other, KEY, resume=True)


def test_an_existing_run_or_folder_is_not_overwritten(tmp_path):
    folder = written(tmp_path / "run")
    with pytest.raises(BadRun, match="--resume"):
        RunWriter(folder, HEADER, KEY, resume=False)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(BadRun, match="is a file"):
        RunWriter(tmp_path / "file", HEADER, KEY, resume=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("precious")
    with pytest.raises(BadRun, match="holds other files"):
        RunWriter(tmp_path / "other", HEADER, KEY, resume=False)
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["thesis.tex"]


def test_a_run_that_was_begun_without_the_name_of_its_denoiser_goes_on(tmp_path):
    written(tmp_path, count=1)
    with RunWriter(tmp_path, {**HEADER, "denoiser_name": "photo"}, KEY, resume=True) as writer:
        assert "denoiser_name" not in writer.header
        assert len(writer.records) == 1


def test_a_header_that_lacks_a_field_is_refused(tmp_path):
    folder = written(tmp_path / "run", 0)
    header = json.loads((folder / "run.json").read_text())
    del header["key_commitment"]
    (folder / "run.json").write_text(json.dumps(header))
    with pytest.raises(BadRun, match="lacks key_commitment"):
        RunWriter(folder, HEADER, KEY, resume=True)


def test_a_run_from_before_the_denoiser_had_a_name_goes_on(tmp_path):
    folder = written(tmp_path / "run", 2)
    with RunWriter(folder, {**HEADER, "denoiser_name": "photo"}, KEY, resume=True) as writer:
        writer.append(record(2))
    assert len(read_run(folder).records) == 3


STRANGE = [None, True, "3", 3.0, -1, 10**400, [], {}, "\ud800"]


@pytest.mark.parametrize("name", ["schema", "images", "data", "question", "evaluated", "key_commitment"])
def test_a_header_without_a_field_or_of_another_type_is_refused(tmp_path, name):
    folder = written(tmp_path / "run", 0)
    header = json.loads((folder / "run.json").read_text())
    for wrong in STRANGE:
        if header[name] == wrong or (name in ("data", "key_commitment") and wrong == "3"):
            continue
        (folder / "run.json").write_text(json.dumps({**header, name: wrong}))
        with pytest.raises(BadRun, match=r"run\.json"):
            read_run(folder)
    if name != "evaluated":
        del header[name]
        (folder / "run.json").write_text(json.dumps(header))
        with pytest.raises(BadRun, match=r"run\.json"):
            read_run(folder)


@pytest.mark.parametrize(
    ("name", "wrong"), [("attempt", "two"), ("class_names", 5), ("class_names", ["\ud800"]), ("key_source", 1)]
)
def test_what_a_header_may_say_has_its_type(tmp_path, name, wrong):
    folder = written(tmp_path / "run", 0)
    header = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**header, name: wrong}))
    with pytest.raises(BadRun, match=f"expected {name} of another type"):
        read_run(folder)


def test_deeply_nested_files_are_refused(tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    for name in ("run.json", "end.json"):
        folder = written(tmp_path / name, 0)
        (folder / name).write_text(deep)
        with pytest.raises(BadRun, match=name):
            read_run(folder)
        (folder / name).write_text(f'{{"schema": {deep}, "key": {deep}}}')
        with pytest.raises(BadRun, match=name):
            read_run(folder)
    certificate = tmp_path / "certificate.json"
    for text in (deep, f'{{"schema": "dsmooth-certificate-2", "record": {deep}}}'):
        certificate.write_text(text)
        with pytest.raises(BadRun, match=r"certificate\.json"):
            read_certificate(certificate)


VOTES = {"file": "", "format": "zlib-u16", "labels": [], "sha256": ""}
CHANGES = [
    {"index": "1"}, {"index": True}, {"name": None}, {"image": 5}, {"shape": ("2", 2, 3)}, {"shape": (0, 2, 3)},
    {"shape": (2, 2)}, {"batch": ()}, {"batch": (4, 3, 2)}, {"label": "1"}, {"label": 1.0}, {"key": {}},
    {"key": {"commitment": None}}, {"votes": {}}, {"votes": {**VOTES, "file": 1}}, {"votes": {**VOTES, "labels": [[1]]}},
    {"votes": {**VOTES, "labels": [1, 1]}}, {"votes": {**VOTES, "labels": 1}}, {"seconds": -1.0}, {"seconds": 1e300},
    {"seconds": 1}, {"service": "x"}, {"attempt": None}, {"versions": {"a": 1}},
]  # fmt: skip


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_a_sealed_record_whose_fields_have_other_types_is_refused(changes):
    with pytest.raises(BadRun):
        Record.parse(replace(record(), **changes).sealed("").line())


def test_a_run_does_not_end_before_its_last_image(tmp_path):
    folder = written(tmp_path / "run", 2)
    with RunWriter(folder, HEADER, KEY, resume=True) as writer:
        with pytest.raises(BadRun, match="expected 3 records at the end, got 2"):
            writer.finish()
        writer.append(record(2))
        writer.finish()
    assert read_run(folder).key == KEY
    assert not (folder / "key.secret").exists()


def test_a_second_writer_is_refused(tmp_path):
    folder = tmp_path / "run"
    with RunWriter(folder, HEADER, KEY, resume=False) as writer:
        with pytest.raises(BadRun, match="another process is writing"):
            RunWriter(folder, HEADER, KEY, resume=True)
        writer.append(record(0))
    with RunWriter(folder, HEADER, KEY, resume=True) as writer:
        assert len(writer.records) == 1


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def refused(file, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(BadRun, match=r"the file system does not support locks .*not implemented.*Lustre: flock"):
        RunWriter(tmp_path / "run", HEADER, KEY, resume=False)


def test_no_run_is_said(tmp_path):
    with pytest.raises(BadRun, match="expected a run folder"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text('{"schema": 99, "question": {}, "images": 1}')
    with pytest.raises(BadRun, match="expected schema 3 or below, got 99"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(BadRun, match="cannot read"):
        read_run(tmp_path)


CURVE = Mode("curve", (0.0, 0.1, 0.25))
BEST, LAST = votes_to_json(Votes({1: 99, 0: 1}, 100)), votes_to_json(Votes({1: 180, 0: 20}, 200))


def looked(asked=None, **changes):
    facts = {"reached": BEST, "estimation": LAST, "drawn": 300}
    return record(asked={"mode": CURVE, "n": 1000, **(asked or {})}, **{**facts, **changes})


def test_a_record_of_votes_that_were_looked_at_rests_on_the_best_look():
    made = looked().sealed("0")
    assert Record.parse(made.line()) == made
    assert made.drawn == 300
    assert (made.answer, made.radius) == (1, "0.250000000")
    assert certificate_of(made).certifier == "curve"
    with pytest.raises(BadParameter, match="only that rule can certify"):
        certificate_of(made, Cohen())
    nothing = looked(reached=votes_to_json(Votes({}, 0)))
    assert Record.parse(nothing.sealed("0").line()).answer is None


@pytest.mark.parametrize(
    "changes",
    [
        {"radius": "0.300000000", "answer": 1},  # more than the look says
        {"reached": votes_to_json(Votes({1: 98, 0: 2}, 100)), "estimation": votes_to_json(Votes({1: 97, 0: 103}, 200))},
        {"reached": votes_to_json(Votes({1: 149, 0: 1}, 150)), "answer": 1, "radius": "0.250000000"},  # no look
        {"reached": None, "answer": 1, "radius": "0.250000000"},
        {"drawn": 299},
        {"asked": {"n": 150}},
        {"asked": {"mode": FIXED}, "answer": 1, "radius": "0.250000000"},
    ],
    ids=str,
)
def test_records_of_modes_that_do_not_fit_are_refused(changes):
    good = looked()
    asked = {"asked": replace(good.asked, **changes["asked"])} if "asked" in changes else {}
    made = replace(good, **{**changes, **asked})
    with pytest.raises((BadRun, BadParameter)):
        Record.parse(made.sealed("0").line())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", {"name": "curve", "radii": []}),
        ("mode", {"name": "radius"}),  # its price follows from n, and is spelled out
        ("law", {"name": "gaussian", "sigma": 0.0}),
        ("law", {"name": "gaussian"}),
        ("law", {"name": "of nobody"}),
        ("law", {"name": "import:os:getcwd"}),
        ("norm", 0.5),
        ("alpha", 0.0),
        ("n0", 0),
        ("bound", "the best"),
        ("more", 1),
    ],
)
def test_questions_that_make_no_sense_are_refused(name, value):
    told = json.loads(record().sealed("0").line())
    told["asked"][name] = value
    told["digest"] = ""
    told["digest"] = digest_json(told)
    with pytest.raises(BadRun):
        Record.parse(canonical_json(told))


def test_what_was_chosen_afterwards_stands_beside_what_was_asked():
    later = replace(QUESTION, alpha=0.01)
    made = record(evaluated=later).sealed("0")
    assert Record.parse(made.line()) == made
    assert made.chosen_afterwards
    assert made.question == later
    assert made.asked == QUESTION
    assert float(made.radius) > float(record().radius)
    assert not record().chosen_afterwards


def test_certificates_follow_from_the_counts():
    certificate = certificate_of(record())
    assert certificate.answer == 1
    assert certificate.law == Gaussian(0.25)
    assert certificate.dim == 12
    assert certificate_of(record(), Cohen()).certifier == "cohen"
    other_share = record(asked={"bound": "multiclass-0.5"})
    assert certificate_of(other_share).certifier == "multiclass-0.5"
    assert certificate_of(record(radius="99.0")).radius == certificate.radius  # the stored radius is for reading


@pytest.mark.parametrize("labels", [[1, None, 2, 1] * 500, ["cat", None, "dog"] * 3, [None] * 5])
def test_sidecars_read_back(tmp_path, labels):
    writer = SidecarWriter(tmp_path / "votes" / "0.votes")
    for start in range(0, len(labels), 7):
        writer.add(labels[start : start + 7])
    entry = writer.close()
    assert list(read_sidecar(tmp_path, entry, len(labels))) == labels
    assert (tmp_path / entry["file"]).stat().st_size < 2 * len(labels) + 40
    with pytest.raises(BadRun, match="votes"):
        list(read_sidecar(tmp_path, entry, len(labels) + 1))
    (tmp_path / entry["file"]).write_bytes(b"other")
    with pytest.raises(BadRun, match="got other bytes"):
        read_sidecar(tmp_path, entry, len(labels))


def test_votes_keep_the_type_of_labels():
    votes = Votes({1: 3, "1": 4}, 9)
    assert votes_from_json(json.loads(json.dumps(votes_to_json(votes)))) == votes
    for broken in (
        {},
        {"counts": [[1, 2]], "missing": 0, "trials": 1},
        {"counts": [[1, 2]], "missing": 5, "trials": 3},
    ):
        with pytest.raises(BadRun):
            votes_from_json(broken)
