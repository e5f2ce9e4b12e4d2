"""The page for an auditor: it says what was asked and seen, and whatever keeps that from being evidence."""

import re
from dataclasses import replace

import numpy as np
import pytest

from dsmooth import Lighting, SmoothedClassifier, Splitting, Uniform, open_images
from dsmooth.report.dossier import dossier_of
from dsmooth.report.page import write_report
from dsmooth.report.summary import summarise
from dsmooth.runs.certify import certify_run
from support import Linear


def made(folder, law, **terms):
    pixels = np.stack([np.full((2, 2, 3), level, np.uint8) for level in (40, 120, 135, 220)])
    np.savez(folder / "images.npz", images=pixels, labels=[0, 0, 1, 1])
    smoothed = SmoothedClassifier(Linear(), None, law)
    return certify_run(smoothed, open_images(folder / "images.npz"), folder / "<b>&", seed=0, **terms)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made(tmp_path_factory.mktemp("run"), 0.25, n0=10, n=200)


def text(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", html[html.index("<main>") :]))


def test_it_says_what_was_asked_and_on_what_evidence(run, tmp_path):
    summary = summarise([run], [0.0, 0.1])
    said = text(dossier_of(summary))
    for part in (
        "less than the certified radius in the l2 norm",
        "gaussian 0.25 noise",
        "10 votes chose the answer, 200 others bound its probability (mode fixed)",
        "alpha = 0.001",
        "4 distinct",
        run.data,
        run.question.classifier,
        run.header["key_commitment"],
        run.records[-1].digest,
        "self-chosen key, not witnessed",
        "sealed, the key is revealed",
        f"numpy {run.records[0].versions['numpy']}",
    ):
        assert part in said, part
    for row in summary.rows:
        for cell in row.cells:
            assert f"{int(1000 * cell.share) / 10:.1f} population: at least {int(1000 * cell.bound) / 10:.1f}" in said
    write_report(summary, tmp_path / "out", dossier=True)
    html = (tmp_path / "out" / "dossier.html").read_text()
    assert "script-src 'none'" in html
    assert "&lt;b&gt;&amp;" in html
    assert not re.search(r"""<b>|<script|(src|href)\s*=""", html)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": 9}, "The run is unfinished: 4 of 9 images"),
        ({"attempt": 3}, "This was attempt 3 with the same settings"),
        ({"evaluated": {}}, "chosen after the votes were known"),
        ({"schema": 2}, "made by an older version"),
        ({"key_source": "seed"}, "The noise key is a seed"),
        ({}, None),
    ],
)
def test_what_keeps_it_from_being_evidence_is_said_first(run, changes, says):
    said = text(dossier_of(summarise([replace(run, header={**run.header, "key_source": "os", **changes})], [0.0])))
    doubts = said[: said.index("Threat model")]
    known = ("unfinished", "a seed", "attempt 3", "chosen after", "older version")
    assert (says is None and not any(word in doubts for word in known)) or says in doubts


def test_answers_that_differed_are_counted(run):
    loose = replace(run, records=[replace(run.records[0], nondeterministic=True), *run.records[1:]])
    assert "that the classifier answered differently: 1." in dossier_of(summarise([loose], [0.0]))


def test_other_laws_have_their_own_norm_and_certainty(tmp_path):
    said = text(dossier_of(summarise([made(tmp_path, Uniform(127), n0=10, n=200, norm=2.0)], [0.0])))
    assert "The theorem is in l1; radii in l2 follow from inequalities between norms" in said
    (tmp_path / "sure").mkdir()
    said = text(dossier_of(summarise([made(tmp_path / "sure", Splitting(63))], [0.0])))
    assert "Each certificate holds with certainty" in said
    assert "alpha" not in said[said.index("Confidence") : said.index("Result")]


def test_light_belongs_to_the_declared_threat(tmp_path, run):
    lit = made(tmp_path, Lighting(0.25, brightness=0.1, ramp=0.1), n0=10, n=200)
    assert "changes of brightness, ramp, alone or combined with those" in text(dossier_of(summarise([lit], [0.0])))
    assert "alone or combined" not in text(dossier_of(summarise([run], [0.0])))
