"""Runs of older versions of the record: reported and certified again, because their votes were paid for; never verified."""

import json
from pathlib import Path

import pytest

from dsmooth.records.store import read_run
from dsmooth.report.summary import summarise
from dsmooth.runs.recertify import recertify
from support import dsmooth

HERE = Path(__file__).parent
RUNS = [f"{schema}/{kind}" for schema in ("schema1", "schema2") for kind in ("fixed", "curve", "service")]


def told(folder):
    """Answer and radius of each image, as the record's line has them."""
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return {line["name"]: (line["answer"], line["radius"]) for line in lines}


def found(records):
    return {record.name: (record.answer, record.radius) for record in records}


@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_is_reported(name, tmp_path):
    run = read_run(HERE / name)
    assert found(run.records) == told(HERE / name)
    assert len(run.records) == run.images == 3
    (row, *_) = summarise([run], [0.0]).rows
    assert row.complete
    assert [certificate.answer for certificate in row.certificates] == [
        answer for answer, _ in told(HERE / name).values()
    ]
    done = dsmooth("report", HERE / name, "--out", tmp_path / "report")
    assert done.code == 0, done.err
    assert (tmp_path / "report").is_dir()


@pytest.mark.parametrize("name", RUNS[2::3])
def test_an_old_log_gives_its_certificates_again(name, tmp_path):
    again = recertify(HERE / name, out=tmp_path / "again")
    assert found(again.records) == told(HERE / name)
    assert found(again.write(tmp_path / "again").records) == told(HERE / name)
    other = recertify(HERE / name, bound="cohen", alpha=0.3)
    assert {(record.question.alpha, record.question.bound) for record in other.records} == {(0.3, "cohen")}
    assert all(record.chosen_afterwards for record in other.records)


@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_is_not_verified(name):
    """Its noise does not follow from all that was asked: n, alpha, mode or networks may be chosen afterwards."""
    done = dsmooth("verify", HERE / name)
    assert done.code == 4, done.out
    assert f"{name}: holds" not in done.out


def test_an_old_certificate_is_not_verified():
    done = dsmooth("verify", HERE / "schema2" / "certificate.json")
    assert done.code == 4, done.out
    assert "certificate.json: holds" not in done.out
