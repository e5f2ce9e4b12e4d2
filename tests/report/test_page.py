"""What people do with the page: in a browser where one is installed, and from its text otherwise."""

import base64
import hashlib
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from browsing import barriers
from dsmooth import SmoothedClassifier
from dsmooth.images.sets import ImageSet, LabelledImage
from dsmooth.records.thumbnails import LOOKS, THUMBNAILS
from dsmooth.report.dossier import dossier_of
from dsmooth.report.page import page_of
from dsmooth.report.summary import summarise
from dsmooth.runs.certify import certify_run
from support import Threshold, different_images

HOSTILE = '"><img src=x onerror=alert(1)>'
VALUES = (60, 90, 106, 140, 180, 220)
NAMES = ("dark", "dim", HOSTILE, "middle", "light", "bright")
LABELS = (0, 0, 1, 1, 0, 1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of six images, one of them with a wrong label, one too near the threshold, one with a hostile name."""
    pixels = [different_images(1, value)[0] for value in VALUES]
    images = ImageSet(NAMES, LABELS, "f", lambda i: LabelledImage(NAMES[i], pixels[i], LABELS[i]))
    folder = tmp_path_factory.mktemp("runs")

    def run(sigma):
        model = SmoothedClassifier(Threshold(100), None, sigma)
        made = certify_run(model, images, folder / f"s{sigma}", n0=50, n=200, seed=0)
        return replace(made, header={**made.header, "class_names": ["low", "<i>high"]})

    return [run(sigma) for sigma in (0.12, 0.25)]


class Cells(HTMLParser):
    """The texts of the rows of the table of images."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.inside = [], False
        self.feed(
            str(html)[html.index('<table id="images">') : html.index("</table>", html.index('<table id="images">'))]
        )

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def test_no_name_turns_the_numbers_behind_it(runs):
    """Behind a mark that turns the direction, 190 votes are shown as 091."""
    names = ["low\u202e", "high\u2067"]
    turned = [replace(run, header={**run.header, "class_names": names, "classifier_name": "net\u202e"}) for run in runs]
    html = page_of(summarise(turned))
    assert not {"\u202e", "\u2067"} & set(html)
    assert any("low\\u202e" in cell for row in Cells(html).rows for cell in row)


def test_the_page_says_that_it_verifies_nothing(runs):
    assert "<code>dsmooth verify</code> checks it" in page_of(summarise(runs))


def test_images_of_several_runs_stand_side_by_side(runs):
    heads, titles, *rows = Cells(page_of(summarise(runs))).rows
    assert heads == ["", "s0.12, multiclass bound", "s0.25, multiclass bound"]
    assert titles == ["", "image", "label", *["certified answer", "radius", "top votes"] * 2]
    assert [row[1] for row in rows] == list(NAMES)
    for i, row in enumerate(rows):
        for run, (answer, radius, votes) in zip(runs, (row[3:6], row[6:9]), strict=True):
            record = run.records[i]
            counts = record.estimation["counts"]
            assert votes == ", ".join(f"{['low', '<i>high'][label]} {count}" for label, count in counts)
            if record.answer is None:
                assert (answer, radius) == ("abstains", "")
            else:
                state = "right" if record.answer == LABELS[i] else "wrong"
                assert answer == ["low", "<i>high"][record.answer] + state
                assert re.fullmatch(r"\d\.\d{4}", radius)
                assert 0.0 <= float(record.radius) - float(radius) < 1e-4  # never above what is certified


def test_another_image_of_the_same_name_has_a_row_of_its_own(runs):
    other = replace(runs[1], records=[replace(runs[1].records[0], image="f" * 64), *runs[1].records[1:]])
    rows = Cells(page_of(summarise([runs[0], other]))).rows[2:]
    assert [row[1] for row in rows] == [*NAMES, "dark"]


def test_the_page_obeys_no_script_and_no_style_but_its_own(runs):
    html = page_of(summarise(runs))
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', html)
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert allowed["default-src"] == "'none'"
    assert allowed["img-src"] == "data:"
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        assert allowed[f"{tag}-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert html.index("Content-Security-Policy") < html.index("<style>")
    assert " style=" not in html
    assert not re.search(r"\son\w+=", html.replace("onerror=alert(1)&gt;", ""))
    assert "<img src=x" not in html
    assert "<i>high" not in html


def test_five_hundred_images_fit_in_three_megabytes(runs):
    """Pictures of noise, which compress worst, and long names."""
    run, noise = runs[0], np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    for i in range(6, 600):
        THUMBNAILS.write(run.folder, i, noise)
    many = [replace(run.records[3], index=i, name=f"ILSVRC2012_val_{i:08d}.JPEG", label=i % 2) for i in range(6, 600)]
    page = page_of(summarise([replace(run, records=many[:500], header={**run.header, "images": 500})]))
    assert page.count("data:image/jpeg") == 500
    assert len(page.encode()) < 3_000_000
    page = page_of(summarise([replace(run, records=many, header={**run.header, "images": 594})]))
    assert page.count("data:image/jpeg") == 500
    assert len(Cells(page).rows) == 1 + 594
    assert "the first 500 images have one" in page


def test_the_page_does_not_grow_with_the_images_beyond_those_listed(runs, monkeypatch):
    monkeypatch.setattr("dsmooth.report.sections.images._LISTED", 100)
    sizes = []
    for count in (200, 400):
        records = [replace(runs[0].records[3], index=i, name=f"{i:05d}") for i in range(count)]
        page = page_of(summarise([replace(runs[0], records=records, header={**runs[0].header, "images": count})]))
        assert len(Cells(page).rows) == 1 + 100
        sizes.append(len(page))
    assert "The first 100 of 400 images" in page
    assert sizes[1] < sizes[0] + 100


def test_noisy_and_denoised_pictures_are_shown_while_there_is_room(runs, tmp_path):
    """Pictures of noise again: as many as fit are in the page, of the first images, and it says of how many."""
    folder = tmp_path / "run"
    shutil.copytree(runs[0].folder, folder)
    noise = np.random.default_rng(0).integers(0, 256, (176, 528, 3)).astype(np.uint8)
    many = [replace(runs[0].records[3], index=i, name=f"{i}") for i in range(60)]
    for i in range(60):
        LOOKS.write(folder, i, noise)
    page = page_of(summarise([replace(runs[0], folder=folder, records=many, header={**runs[0].header, "images": 60})]))
    shown = page.count("popovertarget=")
    assert 10 < shown < 60
    assert page.count(" popover ") == shown
    assert f"the first {shown} images" in page
    assert len(page.encode()) < 3_000_000


def test_classes_are_counted_each_by_itself(runs):
    html = page_of(summarise([runs[0]], [0.0, 0.2]))
    table = html[html.index("Classes (multiclass bound") :]
    cells = [re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", row) for row in table[: table.index("</table>")].split("<tr>")]
    zero, one = cells[2], cells[3]
    members = {label: [r for r in runs[0].records if r.label == label] for label in (0, 1)}
    for row, (label, records) in zip((zero, one), members.items(), strict=True):
        right = [float(r.radius) for r in records if r.answer == label]
        wrong = [r for r in records if r.answer not in (None, label)]
        assert row[1] == str(len(records))
        assert [float(share) for share in row[2:4]] == [
            int(1000 * sum(radius > r for radius in right) / len(records)) / 10 for r in (0.0, 0.2)
        ]
        assert bool(float(row[4])) == bool(wrong)
    assert zero[6] == "&lt;i&gt;high 1"


def test_clean_accuracy_of_the_classifier_stands_beside_that_of_the_smoothed_one(runs):
    html = page_of(summarise([runs[0]]))
    alone = sum((value > 100) == label for value, label in zip(VALUES, LABELS, strict=True))
    majority = sum(record.estimation["counts"][0][0] == record.label for record in runs[0].records)
    shares = [f"{int(1000 * count / 6) / 10:.1f}" for count in (alone, majority)]
    assert alone < 6
    assert f"<td>6</td><td>{shares[0]}</td><td>{shares[1]}</td>" in html
    kept = runs[0].folder / "clean.jsonl"
    lines = kept.read_text().splitlines(keepends=True)
    try:
        kept.write_text("".join(lines[:-1]) + lines[-1][:-5])  # as a crash leaves it
        assert "<td>6</td><td>not recorded</td>" in page_of(summarise([runs[0]]))
    finally:
        kept.write_text("".join(lines))


def test_names_of_classifier_and_denoiser_are_said_where_they_are_known(runs):
    assert "<td>Threshold</td><td>none</td>" in page_of(summarise([runs[0]]))
    older = {name: value for name, value in runs[0].header.items() if name not in ("classifier_name", "denoiser_name")}
    asked = replace(runs[0].question, denoiser="d" * 64)
    records = [replace(record, asked=asked) for record in runs[0].records]
    run = replace(runs[0], header=older, question=asked, records=records)
    assert "<td>not recorded</td><td>not recorded</td>" in page_of(summarise([run]))


@pytest.fixture
def opened(runs, browser, tmp_path):
    """The page as a browser shows it; nothing may be complained of, and nothing fetched."""
    (tmp_path / "report.html").write_text(page_of(summarise(runs)))
    complaints = []
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: complaints.extend([] if request.url.startswith(("file:", "data:")) else [request.url]),
    )
    page.goto((tmp_path / "report.html").as_uri())
    yield page
    page.close()
    assert complaints == []


def shown(page):
    return [
        row.query_selector("th").inner_text() for row in page.query_selector_all("#images tbody tr") if row.is_visible()
    ]


def slide(page, radius):
    page.eval_on_selector(
        "#radius",
        "(e, r) => { e.value = r / e.dataset.radii.split(' ').pop() * e.max;"
        " e.dispatchEvent(new Event('input', {bubbles: true})) }",
        radius,
    )
    return float(page.inner_text("#radius-shown"))


def test_the_slider_moves_table_curve_and_images(runs, opened):
    summary = summarise(runs)
    before = opened.eval_on_selector(".cursor", "e => e.getBoundingClientRect().left")
    for wanted in (0.0, 0.15, 0.3):
        radius = slide(opened, wanted)
        assert abs(radius - wanted) < 0.002
        texts = [cell.inner_text() for cell in opened.query_selector_all("td.at")]
        assert texts[: len(summary.rows)] == [
            f"{int(1000 * row.share(radius) + 1e-9) / 10:.1f}" for row in summary.rows
        ]
        best = max(row.share(radius) for row in summary.rows if row.certifier == "multiclass")
        assert texts[len(summary.rows)] == f"{int(1000 * best + 1e-9) / 10:.1f}"
    assert opened.eval_on_selector(".cursor", "e => e.getBoundingClientRect().left") > before + 20
    opened.select_option("#state", "right")
    beyond = [
        any(r.records[i].answer == LABELS[i] and float(r.records[i].radius) > radius for r in runs) for i in range(6)
    ]
    assert shown(opened) == [name for name, kept in zip(NAMES, beyond, strict=True) if kept]
    assert 0 < sum(beyond) < 6


def test_a_certificate_of_just_more_than_nothing_counts_at_nothing(opened):
    opened.select_option("#state", "right")
    before = shown(opened)
    assert before
    opened.eval_on_selector_all(
        "[data-state=right]", "cells => { for (const e of cells) e.dataset.radius = '0.000000000' }"
    )
    slide(opened, 0.15)
    assert shown(opened) == []
    slide(opened, 0.0)
    assert shown(opened) == before


def test_images_are_filtered_and_sorted(opened):
    opened.select_option("#state", "wrong")
    assert shown(opened) == ["light"]
    assert opened.inner_text("#found") == "1 shown."
    opened.select_option("#state", "")
    opened.fill("#sought", "ONERROR")
    assert shown(opened) == [HOSTILE]
    opened.fill("#sought", "")
    assert shown(opened) == list(NAMES)
    opened.click("#images thead button >> text=radius >> nth=0")
    radii = [row.query_selector_all("td")[3].inner_text() for row in opened.query_selector_all("#images tbody tr")]
    numbers = [float(text) for text in radii if text]
    assert numbers == sorted(numbers)
    assert radii[len(numbers) :] == [""] * (6 - len(numbers))


def test_a_click_shows_the_image_as_the_classifier_saw_it(runs, browser, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(runs[0].folder, folder)
    for i in (0, 2):
        LOOKS.write(folder, i, np.full((16, 34, 3), 90, np.uint8))
    (tmp_path / "report.html").write_text(page_of(summarise([replace(runs[0], folder=folder)])))
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    looks = page.query_selector_all(".look")
    assert [look.get_attribute("aria-label") for look in looks] == ["dark", HOSTILE]
    assert not looks[1].is_visible()
    page.click(f"button[popovertarget={looks[1].get_attribute('id')}]")
    assert looks[1].is_visible()
    assert "noisy (gaussian 0.12)" in looks[1].inner_text()
    page.keyboard.press("Escape")
    assert not looks[1].is_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(runs, browser, tmp_path, scheme):
    """Neither in the report nor in the dossier; with the pictures of an image open, too."""
    folder = tmp_path / "run"
    shutil.copytree(runs[0].folder, folder)
    LOOKS.write(folder, 0, np.full((16, 34, 3), 90, np.uint8))
    summary = summarise([replace(runs[0], folder=folder), runs[1]])
    for name, html in (("report", page_of(summary)), ("dossier", dossier_of(summary))):
        (tmp_path / f"{name}.html").write_text(html)
        assert barriers(browser, (tmp_path / f"{name}.html").as_uri(), scheme) == []
    assert barriers(browser, (tmp_path / "report.html").as_uri(), scheme, click="button[popovertarget]") == []


def test_a_telephone_need_not_scroll_sideways(opened):
    assert opened.evaluate("document.documentElement.scrollWidth") == 390


def test_tables_need_no_script(runs, browser, tmp_path):
    (tmp_path / "report.html").write_text(page_of(summarise(runs)))
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    assert shown(page) == list(NAMES)
    assert not page.is_visible(".controls")
    assert not page.is_visible("th.at")
    context.close()
