"""A run folder comes from anybody: its links are not followed, and none of its files is read beyond a bound."""

import hashlib
import os
import zlib

import numpy as np
import pytest

from dsmooth.audit.findings import append_finding, begin_findings, read_findings
from dsmooth.errors import BadInput, BadRun, Disproved
from dsmooth.records.certificate_file import read_certificate
from dsmooth.records.files import bounded_lines, open_to_read, read_bounded, write_whole
from dsmooth.records.querylog import LOG, QueryLogWriter, read_query_log
from dsmooth.records.sidecar import FORMAT, SidecarWriter, read_packed, read_sidecar, unpack_votes
from dsmooth.records.store import RunWriter, read_run
from dsmooth.report.imported import read_tsv
from dsmooth.report.page import write_report
from dsmooth.report.summary import summarise
from dsmooth.services.http import load_wire
from dsmooth.services.voting import LabelMap
from small_runs import HEADER, KEY, record, written
from support import frugal, refused

MINE = "what must not change"


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text(MINE)
    return path


@pytest.fixture
def folder(tmp_path):
    """A run in a folder that is itself reached through a link, which is its owner's business."""
    written(tmp_path / "real", 2)
    (tmp_path / "run").symlink_to(tmp_path / "real")
    return tmp_path / "run"


def opened(folder):
    return RunWriter(folder, HEADER, KEY, resume=True)


def test_a_run_that_is_reached_through_a_link_is_gone_on_with(folder):
    with opened(folder) as writer:
        sidecar = writer.sidecar(2)
        sidecar.add([1, 0])
        writer.append(record(2, votes=sidecar.close()))
    assert len(read_run(folder).records) == 3
    assert [path.name for path in (folder / "votes").iterdir()] == ["000002.votes"]


@pytest.mark.parametrize("name", ["records.jsonl", "lock", "key.secret", "end.json", "run.json", "votes/000002.votes"])
def test_nothing_is_written_through_a_link_in_a_run(folder, mine, name):
    (folder / "votes").mkdir()
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(mine)
    with pytest.raises(BadRun, match="symbolic links within a run are not followed"), opened(folder) as writer:
        writer.sidecar(2).add([1])
    assert mine.read_text() == MINE
    assert (folder / name).is_symlink()


@pytest.mark.parametrize("name", ["records.jsonl", "lock"])
def test_nothing_is_added_to_a_file_that_is_also_elsewhere(folder, tmp_path, name):
    kept = (folder / name).read_bytes()
    (tmp_path / "elsewhere").hardlink_to(tmp_path / "real" / name)
    with pytest.raises(BadRun, match="hard link"), opened(folder) as writer:
        writer.append(record(2))
    assert (tmp_path / "elsewhere").read_bytes() == kept


def test_a_folder_of_votes_that_is_a_link_is_not_entered(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (folder / "votes").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadRun, match="symbolic links"), opened(folder):
        pass
    with pytest.raises(OSError, match="symbolic links"):
        SidecarWriter(folder / "votes" / "000002.votes")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_link_that_comes_while_votes_are_written_is_replaced_and_not_followed(folder, mine):
    with opened(folder) as writer:
        sidecar = writer.sidecar(2)
        (folder / "votes" / "000002.votes").symlink_to(mine)
        sidecar.add([1, 1])
        entry = sidecar.close()
    assert mine.read_text() == MINE
    assert list(read_sidecar(folder, entry, 2)) == [1, 1]


@pytest.mark.parametrize("name", ["records.jsonl", "run.json", "end.json"])
def test_a_run_is_not_read_through_links(folder, tmp_path, name):
    (folder / name).touch()
    (folder / name).rename(tmp_path / "moved")
    (folder / name).symlink_to(tmp_path / "moved")
    with pytest.raises(BadRun, match="symbolic links"):
        read_run(folder)


@pytest.mark.parametrize(
    "name", ["votes/linked", "../mine.txt", "votes/../mine.txt", "/etc/passwd", "votes/a/b", "votes/\0"]
)
def test_votes_are_read_within_the_run_alone(folder, mine, name):
    (folder / "votes").mkdir()
    (folder / "votes" / "linked").symlink_to(mine)
    with pytest.raises(BadRun, match=r"within the run|symbolic links|null"):
        read_packed(folder, {"file": name}, 100)


@pytest.mark.parametrize("where", ["report", "report/report.html"])
def test_a_report_is_not_written_through_a_link(folder, mine, tmp_path, where):
    (tmp_path / "elsewhere").mkdir()
    if "/" in where:
        (folder / "report").mkdir()
    (folder / where).symlink_to(mine if "/" in where else tmp_path / "elsewhere")
    refused(tmp_path, "report", folder, says="symbolic links")
    refused(tmp_path, "report", folder, "--out", folder / "report", says="symbolic links")
    assert mine.read_text() == MINE


def test_a_report_goes_where_its_reader_wants_it(folder, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "report").symlink_to(tmp_path / "disk")
    write_report(summarise([read_run(folder)]), tmp_path / "report")
    assert (tmp_path / "disk" / "report.html").is_file()


@pytest.mark.parametrize("where", ["attack", "attack/attack.jsonl"])
def test_findings_are_not_written_through_a_link(folder, mine, tmp_path, where):
    (tmp_path / "elsewhere").mkdir()
    if "/" in where:
        (folder / "attack").mkdir()
    (folder / where).symlink_to(mine if "/" in where else tmp_path / "elsewhere")
    for resume in (False, True):
        with pytest.raises(BadRun):
            begin_findings(folder / "attack", {}, resume=resume)
    with pytest.raises(OSError, match="symbolic links"):
        append_finding(folder / "attack", "a", [])
    with pytest.raises(BadRun):
        read_findings(folder / "attack")
    assert mine.read_text() == MINE
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_log_is_neither_read_nor_written_through_a_link(folder, mine):
    (folder / LOG).symlink_to(mine)
    for reading in (read_query_log, lambda path: QueryLogWriter(path, {})):
        with pytest.raises(BadRun, match="symbolic links"):
            reading(folder / LOG)
    assert mine.read_text() == MINE


def a_pipe(path):
    os.mkfifo(path)


def a_device(path):
    path.symlink_to("/dev/zero")


def a_folder(path):
    path.mkdir()


def a_hole(path):
    """A file of 1 TB, none of which is on disk."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


READERS = {
    "run.json": lambda path: read_run(path.parent),
    "records.jsonl": lambda path: read_run(path.parent),
    "end.json": lambda path: read_run(path.parent),
    "key.secret": lambda path: opened(path.parent),
    "lock": lambda path: opened(path.parent),
    "votes/000000.votes": lambda path: read_packed(path.parent.parent, {"file": "votes/000000.votes"}, 100),
    "attack/attack.jsonl": lambda path: read_findings(path.parent),
    LOG: read_query_log,
    "certificate.json": read_certificate,
    "map.json": LabelMap.load,
    "wire.json": load_wire,
    "old.tsv": read_tsv,
}


@pytest.mark.parametrize("what", [a_pipe, a_device, a_folder, a_hole])
@pytest.mark.parametrize("name", READERS)
def test_whatever_lies_in_the_place_of_a_file_is_refused_at_once(tmp_path, name, what):
    if (name, what) == ("lock", a_hole):
        return  # its content is not read
    path = written(tmp_path / "run", 2) / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    what(path)
    with frugal(), pytest.raises(BadInput) as refusal:
        READERS[name](path)
    assert "\n" not in str(refusal.value)


def test_a_file_may_be_as_long_as_allowed_and_no_longer(tmp_path):
    write_whole(tmp_path / "a", "12345")
    assert read_bounded(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="at most 4 bytes, got 5"):
        read_bounded(tmp_path / "a", 4)
    (tmp_path / "b").write_text("123\n1234\n12")
    with open_to_read(tmp_path / "b") as file:
        assert list(bounded_lines(file, 5)) == [b"123\n", b"1234\n", b"12"]
    with open_to_read(tmp_path / "b") as file, pytest.raises(ValueError, match="at most 4 bytes"):
        list(bounded_lines(file, 4))


def test_votes_that_nothing_shortens_are_within_the_bound(tmp_path):
    labels = [int(label) for label in np.random.default_rng(0).integers(0, 65535, 50_000)]
    sidecar = SidecarWriter(tmp_path / "votes" / "a")
    for i in range(0, len(labels), 10):
        sidecar.add(labels[i : i + 10])
    entry = sidecar.close()
    assert list(read_sidecar(tmp_path, entry, len(labels))) == labels


def test_as_many_votes_as_bytes_can_hold_and_no_more():
    packed = zlib.compress(np.ones(10**6, "<u2").tobytes(), 9)
    entry = {"file": "f", "format": FORMAT, "labels": [3], "sha256": hashlib.sha256(packed).hexdigest()}
    assert sum(1 for _ in unpack_votes(packed, entry, 10**6)) == 10**6
    with frugal(), pytest.raises(Disproved, match="cannot hold so many"):
        unpack_votes(packed, entry, 3 * 10**8)
