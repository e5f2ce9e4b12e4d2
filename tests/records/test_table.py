"""Runs as tables: every value is the record's, and no radius is above it."""

import csv
import io
import json
import sys
from dataclasses import replace
from fractions import Fraction

import pytest

from dsmooth.errors import MissingPackage
from dsmooth.records.store import read_run
from dsmooth.records.table import COLUMNS, csv_of, frame_of, parquet_of
from small_runs import record, written
from support import dsmooth


@pytest.fixture
def run(tmp_path):
    """One certified image with its label, one without label, and one that abstains; names of classes are known."""
    run = read_run(written(tmp_path / "run"))
    shy = record(2, estimation={"counts": [[1, 52], [0, 44]], "missing": 4, "trials": 100})
    assert shy.answer is None
    return replace(
        run,
        records=[shy, *run.records[:1], replace(run.records[1], label=None)],
        header={**run.header, "class_names": ["dog", "cat"]},
    )


def test_a_frame_holds_what_the_records_say(run):
    frame = run.to_pandas()
    assert list(frame.columns) == list(COLUMNS)
    assert list(frame["index"]) == [0, 1, 2]
    assert list(frame["answer"].isna()) == [False, False, True]
    assert list(frame["answer_name"].dropna()) == ["cat", "cat"]
    assert list(frame["right"].astype(object)) == [True, frame["right"][1], False]
    assert frame["right"].isna()[1]
    assert json.loads(frame["votes"][2]) == [[1, 52], [0, 44]]
    assert list(frame["missing"]) == [2, 2, 4]
    assert frame["radius"][2] == 0.0
    assert frame["radius"][0] > 0.0
    assert set(frame["noise"]) == {"gaussian 0.25"}


@pytest.mark.parametrize("text", ["0.1", "0.3", "0.123456789", "0.000000001", "1.000000000", "0.700000000"])
def test_no_radius_is_rounded_up(run, text):
    (radius,) = frame_of([replace(run, records=[replace(run.records[0], radius=text)])])["radius"]
    assert 0 <= Fraction(text) - Fraction(float(radius)) < Fraction(1, 10**15)


def test_answers_of_services_are_text(run):
    named = replace(
        run.records[1], answer="<b>=cat", estimation={"counts": [["<b>=cat", 9]], "missing": 0, "trials": 9}
    )
    frame = frame_of([replace(run, records=[named, run.records[0]])])
    assert list(frame["answer"].dropna()) == ["<b>=cat"]


def test_parquet_and_csv_hold_the_frame(run):
    import pandas

    frame = frame_of([run, run])
    again = pandas.read_parquet(io.BytesIO(b"".join(parquet_of([run, run]))))
    pandas.testing.assert_frame_equal(frame, again)
    rows = list(csv.DictReader(io.StringIO("".join(csv_of([run, run])))))
    assert len(rows) == len(frame) == 6
    for name in COLUMNS:
        told = ["" if missing else str(value) for value, missing in zip(frame[name], frame[name].isna(), strict=True)]
        assert [row[name] for row in rows] == told


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_name_is_no_formula_in_a_spreadsheet(run, name):
    """In CSV alone: a frame holds names as they are, and numbers stay numbers."""
    odd = replace(run, records=run.records[:1], header={**run.header, "class_names": [name, name]})
    odd = replace(odd, records=[replace(odd.records[0], name=name, seconds=1e-9)])
    assert list(frame_of([odd])["name"]) == [name]
    (row,) = csv.DictReader(io.StringIO("".join(csv_of([odd])), newline=""))
    assert row["name"] == f"'{name}"
    assert float(row["seconds"]) == 1e-9
    for column, kind in COLUMNS.items():
        assert not (kind == "string" and row[column].startswith(("=", "+", "-", "@", "\t", "\r"))), column
    answered = replace(odd.records[0], answer=name, estimation={"counts": [[name, 9]], "missing": 0, "trials": 9})
    (row,) = csv.DictReader(io.StringIO("".join(csv_of([replace(odd, records=[answered])])), newline=""))
    assert row["answer"] == row["answer_name"] == f"'{name}"


def test_a_name_with_quotes_and_lines_is_one_cell(run):
    odd = 'a,"b"\nc'
    text = "".join(csv_of([replace(run, records=[replace(run.records[0], name=odd)])]))
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["name"] == odd


def test_without_pandas_one_line_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackage, match=r"pandas is not installed: run pip install 'dsmooth\[table\]'"):
        run.to_pandas()
    assert "".join(csv_of([run])).startswith("run,index,name,")


def test_the_command_writes_whole_files_or_none(tmp_path):
    run = written(tmp_path / "run")
    done = dsmooth("export", run, "--csv", tmp_path / "a.csv", "--parquet", tmp_path / "a.parquet")
    assert (done.code, done.out.count("3 images")) == (0, 2)
    assert (tmp_path / "a.csv").read_text() == "".join(csv_of([read_run(run)]))
    kept = (run / "records.jsonl").read_bytes()
    for arguments, says in [
        ([], "pass --csv FILE or --parquet FILE"),
        (["--csv", run / "records.jsonl"], "ends in .csv"),
        (["--csv", tmp_path / "nowhere" / "a.csv"], "cannot be written"),
    ]:
        done = dsmooth("export", run, *arguments)
        assert (done.code, says in done.err) == (2, True), done.err
        assert done.err.count("\n") == 1
    assert (run / "records.jsonl").read_bytes() == kept
    assert dsmooth("export", tmp_path, "--csv", tmp_path / "b.csv").code == 2
    assert not (tmp_path / "b.csv").exists()
