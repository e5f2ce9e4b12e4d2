"""Sections of the page: one of a test's own, what the contract refuses, and what each says of other laws and questions."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup

from dsmooth import BadParameter, SmoothedClassifier, open_images
from dsmooth.audit.attack import Attack, attack_run
from dsmooth.audit.pgd import Ascent
from dsmooth.records.store import read_run
from dsmooth.registry import Registry
from dsmooth.report.export import latex_table, markdown_table
from dsmooth.report.page import page_of
from dsmooth.report.sections.base import RunSection, Section
from dsmooth.report.sections.known import SECTIONS
from dsmooth.report.sections.light import Light
from dsmooth.report.summary import summarise
from dsmooth.runs.certify import certify_run
from dsmooth.runs.recertify import recertify
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.lighting import Lighting
from dsmooth.theory.laws.splitting import Splitting
from dsmooth.theory.laws.uniform import Uniform
from support import Linear

OLD = Path(__file__).parent.parent / "golden"


def made(folder, law, **terms):
    """A run on images of 2 x 2 pixels, their brightness on both sides of where the answer changes."""
    pixels = np.stack([np.full((2, 2, 3), level, np.uint8) for level in (40, 120, 135, 220)])
    np.savez(folder / "images.npz", images=pixels, labels=[0, 0, 1, 1])
    images, smoothed = open_images(folder / "images.npz"), SmoothedClassifier(Linear(), None, law)
    return certify_run(smoothed, images, folder / "<b>&", seed=0, **terms), images, smoothed


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made(tmp_path_factory.mktemp("run"), Gaussian(0.25), n0=10, n=200)[0]


# --- A section that no file of src knows -------------------------------------------------------------------------------


class Promises(RunSection):
    """How many images of a run have a certified answer."""

    def _html(self, summary, run):
        certified = sum(record.answer is not None for record in run.records)
        text = Markup("<p class='promises'>{}: {} of {} certified</p>")
        return text.format(run.folder.name, certified, len(run.records)) if certified else None


def test_a_section_of_ones_own_is_one_row(run):
    sections = Registry("section", {"promises": f"{__name__}:Promises", **SECTIONS})
    page = page_of(summarise([run]), sections)
    certified = sum(record.answer is not None for record in run.records)
    assert f"<p class='promises'>&lt;b&gt;&amp;: {certified} of 4 certified</p>" in page
    assert (
        page.index("class='promises'") < page.index("samples") < page.index("key commitment")
    )  # the order of the rows
    nothing = replace(run, records=[replace(record, answer=None) for record in run.records])
    assert "class='promises'" not in page_of(summarise([nothing]), sections)


def test_sections_of_runs_that_are_neighbours_stand_under_one_heading_for_each_run(run):
    other = replace(run, folder=run.folder.parent / "other")
    page = page_of(summarise([run, other]))
    assert re.findall(r"<h2>(.*?)</h2>", page)[-2:] == ["&lt;b&gt;&amp;", "other"]
    assert [m[0] for m in re.findall(r"(Classes \(|key commitment)", page)] == ["C", "k", "C", "k"]


class Unescaped(Section):
    """Text that nobody escaped."""

    def _html(self, summary):
        return f"<p>{summary.runs[0].folder.name}</p>"


class Elsewhere(Section):
    """A picture that is not on the page."""

    def _html(self, summary):
        return Markup('<img src="https://example.org/x.png">')


@pytest.mark.parametrize(
    ("name", "message"), [("Unescaped", "must answer Markup"), ("Elsewhere", "example.org"), ("Path", "got PosixPath")]
)
def test_what_would_spoil_the_page_is_refused(name, message, run):
    with pytest.raises(BadParameter, match=message):
        page_of(summarise([run]), Registry("section", {"mine": f"{__name__}:{name}"}))


# --- Other laws, other questions ---------------------------------------------------------------------------------------


def test_headings_name_the_norm_of_the_law(tmp_path):
    run, images, smoothed = made(tmp_path, Uniform(127), n0=10, n=200)
    attack_run(run, images, smoothed, Attack(ascent=Ascent(2, 2), strengths=(0.1,), n=60))
    page = page_of(summarise([run], [0.0, 0.1]))
    assert "<h2>Certified accuracy by l<sub>1</sub> radius</h2>" in page
    assert '<th scope="col">l1 r = 0.1</th>' in page
    assert '<th scope="col">l<sub>1</sub> strength</th>' in page
    assert "that a certificate covers (l<sub>1</sub> or l<sub>∞</sub>)" in re.sub(r"\s+", " ", page)
    assert "<td>uniform 127</td>" in page
    assert "<code>uniform, levels 127</code>" in page


def test_light_is_told_where_the_noise_has_it(tmp_path):
    run, *_ = made(tmp_path, Lighting(0.1, brightness=0.2))
    summary = summarise([run], [0.0])
    html = str(Light().html(summary, run))
    shares = [float(text) for text in re.findall(r"<td>([0-9.]+)</td>", html)]
    (row,) = [row for row in summary.rows if row.main]
    reached = [255 * c.radius / 0.1 * 0.2 for c in row.certificates if c.answer is not None]
    assert [round(share * len(run.records) / 100) for share in shares] == [
        sum(each > level for each in reached) for level in (4, 8, 16, 24, 32, 48, 64)
    ]
    assert shares[0] > shares[-1]


def test_plain_noise_says_nothing_of_light(run):
    assert Light().html(summarise([run], [0.0]), run) is None


def test_an_enumerated_law_stands_under_its_one_bound_and_is_certain(tmp_path):
    run, *_ = made(tmp_path, Splitting(63))
    summary = summarise([run], [0.0, 0.05])
    assert [(row.certifier, row.main) for row in summary.rows] == [("exact", True)]
    assert summary.rows[0].cells[0].bound > 0.0
    assert "| splitting 63 | exact (certain) |" in markdown_table(summary)
    page = page_of(summary)
    assert "Each certificate holds with certainty" in page
    assert "wrong with probability" not in page


def test_what_was_chosen_after_the_votes_is_marked_wherever_the_run_stands(run):
    other = replace(run.question, alpha=0.01)
    again = replace(
        run,
        header={**run.header, "evaluated": other.to_json()},
        question=other,
        records=[replace(record, evaluated=other) for record in run.records],
    )
    summary = summarise([again])
    for text in (markdown_table(summary), latex_table(summary)):
        assert text.count("(chosen after the votes)") == 2  # under either bound
    assert all(cell.bound is None for row in summary.rows for cell in row.cells)
    page = page_of(summary)
    assert "<h2>&lt;b&gt;&amp; (chosen after the votes)</h2>" in page
    assert "do not hold at the stated alpha" in page
    assert "This does not apply to runs marked" in page
    plain = summarise([run])
    assert "chosen after" not in page_of(plain) + markdown_table(plain)


@pytest.mark.parametrize("name", ["schema1/fixed", "schema2/curve", "recertified"])
def test_runs_of_older_versions_are_marked_and_so_is_what_is_made_from_them(name, tmp_path):
    mark = "made by an older version: not verifiable)"
    if name == "recertified":
        run = recertify(OLD / "schema2" / "service", out=tmp_path / "again").write(tmp_path / "again")
        assert run.schema == 3
    else:
        run = read_run(OLD / name)
    summary = summarise([run], [0.0])
    assert all(mark in line for line in markdown_table(summary).splitlines()[2:])
    page = page_of(summary)
    assert f"{mark}</h2>" in page
    assert "This does not apply to runs marked" in page
