import csv
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from dsmooth import BadParameter, BadRun, SmoothedClassifier
from dsmooth.images.sets import ImageSet, LabelledImage
from dsmooth.records.schema import certificate_of
from dsmooth.records.store import read_run
from dsmooth.report.export import latex_table, markdown_table, tsv
from dsmooth.report.page import write_report
from dsmooth.report.sections.curve import curve_of
from dsmooth.report.summary import summarise
from dsmooth.runs.certify import certify_run
from dsmooth.theory.accuracy import population_lower_bound
from dsmooth.theory.certifiers import Cohen, Multiclass
from dsmooth.theory.modes import FIXED, Mode
from support import Threshold, different_images


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two sigmas on ten images around a threshold: true labels 1 for the brighter six, and one hostile name."""
    folder = tmp_path_factory.mktemp("runs")
    values = [60, 90, 101, 106, 120, 140, 160, 180, 200, 220]
    pixels = [different_images(1, value)[0] for value in values]
    keys = [*map(str, values[:-1]), "<script>alert(1)</script>|&"]
    labels = [0, 0, 1, 1, 1, 1, 1, 1, 1, 0]
    images = ImageSet(tuple(keys), tuple(labels), "f", lambda i: LabelledImage(keys[i], pixels[i], labels[i]))
    return [
        read_run(
            certify_run(
                SmoothedClassifier(Threshold(100), None, sigma), images, folder / f"s{sigma}", n0=50, n=200, seed=0
            ).folder
        )
        for sigma in (0.12, 0.5)
    ]


def asked(run, **terms):
    """The run as if something else had been asked of the same votes."""
    records = [replace(record, asked=replace(record.asked, **terms)) for record in run.records]
    return replace(run, records=records, question=replace(run.question, **terms))


def test_certified_accuracy_is_counted_from_the_votes(runs):
    summary = summarise(runs, [0.0, 0.1, 0.2])
    assert [row.certifier for row in summary.rows] == ["multiclass", "multiclass", "cohen", "cohen"]
    for row, certifier, run in zip(summary.rows, (Multiclass(), Multiclass(), Cohen(), Cohen()), runs * 2, strict=True):
        for radius, cell in zip(summary.radii, row.cells, strict=True):
            right = 0
            for record in run.records:
                certificate = certificate_of(record, certifier)
                right += certificate.answer == record.label and certificate.radius > radius
            assert cell.share == right / 10
            assert cell.bound == population_lower_bound(right, 10, 0.001, delta=0.025)
    assert summary.rows[0].cells[0].share >= 0.6
    assert summary.samples == 2 * 10 * 250


def test_copies_of_an_image_are_one_draw_from_the_population(runs):
    """Sixty copies of one image say as much as one; and an image counts as right where all of its copies are."""
    run = runs[0]
    right = next(r for r in run.records if r.answer is not None and r.answer == r.label)
    copies = [replace(right, index=i, name=str(i)) for i in range(60)]
    header = {**run.header, "images": 60}
    (cell,) = summarise([replace(run, records=copies, header=header)], [0.0]).rows[0].cells
    assert cell.share == 1.0
    assert cell.bound == population_lower_bound(1, 1, 0.001, delta=0.05) < 0.06
    copies[7] = replace(copies[7], label=1 - right.label)
    (cell,) = summarise([replace(run, records=copies, header=header)], [0.0]).rows[0].cells
    assert cell.share == 59 / 60
    assert cell.bound == 0.0


def test_cohens_bound_can_be_left_out(runs):
    summary = summarise(runs, [0.0, 0.1], cohen=False)
    assert [row.certifier for row in summary.rows] == ["multiclass"] * 2
    assert set(summary.envelope) == {"multiclass"}
    assert "Cohen" not in curve_of(summary).svg
    assert "Cohen" in curve_of(summarise(runs)).svg


def test_the_envelope_is_the_best_of_the_runs(runs):
    summary = summarise(runs, [0.0, 0.25])
    best = [max(a.share, b.share) for a, b in zip(summary.rows[0].cells, summary.rows[1].cells, strict=True)]
    assert [cell.share for cell in summary.envelope["multiclass"]] == best


def test_the_envelope_has_no_part_in_what_was_chosen_afterwards(runs):
    """Its row has no name that could say so."""
    doubtful = replace(runs[1], header={**runs[1].header, "evaluated": runs[1].question.to_json()})
    assert summarise([runs[0], doubtful], [0.0, 0.25]).envelope == {}


def test_report_files(runs, tmp_path):
    page = write_report(summarise(runs), tmp_path / "report")
    html = page.read_text()
    assert {p.name for p in page.parent.iterdir()} == {
        "report.html", "curve.svg", "table.md", "table.tex", "s0.12.tsv", "s0.5.tsv",
    }  # fmt: skip
    assert html.count("<script") == html.count("</script>") == 1
    assert "&lt;script&gt;" in html
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", html)  # self-contained: nothing is fetched
    ET.fromstring((page.parent / "curve.svg").read_text())
    assert "upper envelope" in html


def test_a_curve_is_xml_whatever_a_folder_is_called(runs, tmp_path):
    odd = replace(runs[0], folder=tmp_path / "a\x01\n<$x$>&_")
    ET.fromstring(curve_of(summarise([odd])).svg)


def test_tables(runs):
    summary = summarise(runs, [0.0, 0.1])
    lines = markdown_table(summary).splitlines()
    assert lines[0] == "| run | noise | bound | abstained | l2 r = 0 | l2 r = 0.1 |"
    assert len(lines) == 2 + 4 + 2
    assert len({line.count("|") for line in lines}) == 1
    assert re.search(r"\| s0\.12 \| gaussian 0\.12 \| cohen \| \d+\.\d \| \d+\.\d \[\d+\.\d\] \|", lines[4])
    latex = latex_table(summary)
    assert latex.count(r"\\") == 7
    assert r"\begin{tabular}{lllrrr}" in latex


def test_tsv_is_cohens(runs):
    rows = list(csv.DictReader(tsv(runs[0], Cohen()), delimiter="\t"))
    assert list(rows[0]) == ["idx", "label", "predict", "radius", "correct", "time"]
    assert [int(row["idx"]) for row in rows] == list(range(10))
    for row in rows:
        assert (row["predict"] == "-1") == (float(row["radius"]) == 0.0)
        assert row["correct"] == str(int(row["predict"] == row["label"]))


def test_runs_that_do_not_belong_together_are_refused(runs):
    other = asked(runs[1], alpha=0.01)
    with pytest.raises(BadRun, match="report them separately"):
        summarise([runs[0], other])
    with pytest.raises(BadRun, match="at least one finished image"):
        summarise([replace(runs[0], records=[])])
    for radii in ([], [-1.0], [float("nan")], [float("inf")]):
        with pytest.raises(BadParameter, match="radii must be finite"):
            summarise(runs, radii)


def test_without_labels_the_share_certified_is_shown(runs):
    run = replace(runs[0], records=[replace(record, label=None) for record in runs[0].records])
    summary = summarise([run], [0.0])
    assert summary.what == "share certified"
    assert summary.rows[0].cells[0].bound is None
    certified = np.mean([not certificate.abstained for certificate in summary.rows[0].certificates])
    assert summary.rows[0].cells[0].share == certified


def test_an_unfinished_run_says_so(runs):
    summary = summarise([replace(runs[0], records=runs[0].records[:4])], [0.0])
    assert "(unfinished)" in markdown_table(summary)


def test_l_infinity_runs_are_reported_in_l_infinity(runs):
    run = asked(runs[0], norm=float("inf"))
    summary = summarise([run])
    assert summary.radii[1] == pytest.approx(0.5 * 0.12 / 3, rel=1e-3)  # 9 coordinates
    assert json.dumps(list(summary.radii))


def test_runs_of_other_modes_stand_beside_runs_of_mode_fixed(runs, tmp_path):
    images = [LabelledImage(str(v), different_images(1, v)[0], int(v > 100)) for v in (60, 101, 140, 180, 220)]
    keys = tuple(image.name for image in images)
    data = ImageSet(keys, tuple(image.label for image in images), "f", lambda i: images[i])
    model = SmoothedClassifier(Threshold(100), None, 0.12)
    both = [
        certify_run(model, data, tmp_path / name, n0=10, n=2000, seed=0, mode=mode)
        for name, mode in (("fixed", FIXED), ("curve", Mode("curve", (0.0, 0.1, 0.2))))
    ]
    summary = summarise(both)
    assert summary.radii == (0.0, 0.1, 0.2)
    assert [(row.name, row.certifier, row.main) for row in summary.rows] == [
        ("fixed", "multiclass", True), ("curve", "curve", True), ("fixed", "cohen", False),
    ]  # fmt: skip
    _, curve, cohen = summary.rows
    for one, other in zip(curve.cells, cohen.cells, strict=True):
        assert one.share == other.share > 0.0
    assert summary.envelope == {}  # no bound under which both stand
    assert summary.samples == sum(record.drawn for run in both for record in run.records)
    assert summary.samples_if_fixed == 2 * 5 * 2010
    html = write_report(summary, tmp_path / "report").read_text()
    assert "times fewer than the 20,100 of mode fixed" in html
    assert (tmp_path / "report" / "curve.tsv").read_text().count("\n") == 6
    assert summarise(both[1:]).rows[0].certifier == "curve"
