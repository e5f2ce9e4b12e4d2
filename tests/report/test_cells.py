"""Labels and names are what others chose: whatever is in them, a table keeps its rows and columns."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dsmooth.images.opening import open_images
from dsmooth.report.cells import latex_cell, markdown_cell, p_value_cell, tsv_cell, with_error
from dsmooth.report.export import latex_table, markdown_table, tsv
from dsmooth.report.imported import imported_table, read_tsv
from dsmooth.report.summary import summarise
from dsmooth.runs.certify import certify_run
from dsmooth.smoothing.smoothed import SmoothedClassifier
from support import Linear

HOSTILE = "cat\t9.9\t1\t0:00:00\n1\t3\t3\t9.9\t1\t0:00:00\r\x0b\x0c\x1c\x85\u2028\u2029\\t"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    np.savez(folder / "x.npz", images=np.full((2, 4, 4, 3), 250, np.uint8), labels=np.array([1, 0]))
    return certify_run(
        SmoothedClassifier(Linear(), None, 0.5), open_images(folder / "x.npz"), folder / "run", n0=5, n=50, seed=0
    )


def renamed(run, label):
    """The run as if its classifier had called class 1 this."""
    votes = {"trials": 50, "counts": [[label, 50]], "missing": 0}
    chosen = {"trials": 5, "counts": [[label, 5]], "missing": 0}
    records = [replace(record, answer=label, selection=chosen, estimation=votes) for record in run.records]
    return replace(run, records=records)


def test_a_label_makes_no_row_of_its_own(run):
    text = "".join(tsv(renamed(run, HOSTILE)))
    assert len(text.splitlines()) == 3
    assert all(line.count("\t") == 5 for line in text.splitlines())
    predicted = {line.split("\t")[2] for line in text.splitlines()[1:]}
    assert predicted == {tsv_cell(HOSTILE)}
    (cell,) = predicted
    assert cell.encode().decode("unicode_escape") == HOSTILE  # nothing is lost


def test_a_folder_makes_no_row_of_its_own(run, tmp_path):
    folder = tmp_path / "a | b\n| forged | 100.0 |"
    folder.mkdir()
    summary = summarise([replace(run, folder=folder)], [0.0])
    plain = summarise([run], [0.0])
    for table in (markdown_table, latex_table):
        assert len(table(summary).splitlines()) == len(table(plain).splitlines())
    assert {line.count("|") for line in markdown_table(summary).splitlines()} == {6}
    file = tmp_path / "x | y\n| forged |.tsv"
    file.write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t3\t3\t0.95\t1\t0:00:02\n")
    assert {line.count("|") for line in imported_table([read_tsv(file)], [0.0]).splitlines()} == {5}


@pytest.mark.parametrize(
    ("text", "tsv", "markdown", "latex"),
    [
        ("tabby cat", "tabby cat", "tabby cat", "tabby cat"),
        ("a\tb\nc", r"a\tb\nc", r"a\tb\nc", r"a\textbackslash{}tb\textbackslash{}nc"),
        ("a\\b", r"a\\b", r"a\b", r"a\textbackslash{}b"),
        ("50% & $x_1^2~#{}", "50% & $x_1^2~#{}", "50% &amp; $x_1^2~#{}",
         r"50\% \& \$x\_1\textasciicircum{}2\textasciitilde{}\#\{\}"),
        ("<b>|", "<b>|", "&lt;b>&#124;", "<b>|"),
        ("\u2028\ud800", r"\u2028\ud800", r"\u2028\ud800", r"\textbackslash{}u2028\textbackslash{}ud800"),
        ("ação 猫", "ação 猫", "ação 猫", "ação 猫"),
    ],
)  # fmt: skip
def test_cells(text, tsv, markdown, latex):
    assert (tsv_cell(text), markdown_cell(text), latex_cell(text)) == (tsv, markdown, latex)


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (-0.03004, 0.0169, "-0.030 ± 0.017"),
        (0.00001, 0.0169, "+0.000 ± 0.017"),
        (-0.00001, 0.0169, "+0.000 ± 0.017"),
        (-0.0000311, 0.0000204, "-0.000031 ± 0.000020"),
        (12.3, 34.6, "+12 ± 35"),
        (0.25, math.nan, "+0.25"),
        (0.0, 0.0, "+0 ± 0"),
    ],
)
def test_differences_have_the_digits_of_their_standard_error(mean, error, text):
    assert with_error(mean, error) == text


def test_p_values_are_rounded_up():
    assert p_value_cell(0.05010) == "0.051"
    assert [p_value_cell(value) for value in (1.0, 0.999, 0.5, 0.0123, 1e-5)] == ["1", "1", "0.5", "0.013", "< 0.0001"]
