"""Runs compared with the first one, recounted from their records."""

import math
import statistics
from dataclasses import replace

import pytest

from dsmooth import SmoothedClassifier
from dsmooth.images.sets import ImageSet, LabelledImage
from dsmooth.records.schema import certificate_of
from dsmooth.records.store import read_run
from dsmooth.report.differences import differences
from dsmooth.report.export import difference_table
from dsmooth.report.page import page_of
from dsmooth.report.summary import summarise
from dsmooth.runs.certify import certify_run
from dsmooth.theory.certifiers import Cohen, Multiclass
from dsmooth.theory.modes import FIXED, Mode
from support import Threshold, different_images

RADII = [0.0, 0.1, 0.2, 0.4]
VALUES = [60, 80, 90, 97, 101, 106, 112, 120, 140, 160, 180, 200]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """A run of twelve images whose brightness says their label, by a classifier with its own threshold."""
    folder = tmp_path_factory.mktemp("runs")
    pixels = [different_images(1, value)[0] for value in VALUES]
    keys = [str(value) for value in VALUES]
    labels = [int(value > 100) for value in VALUES]
    images = ImageSet(tuple(keys), tuple(labels), "f", lambda i: LabelledImage(keys[i], pixels[i], labels[i]))

    def made(name, threshold, sigma, mode=FIXED):
        smoothed = SmoothedClassifier(Threshold(threshold), None, sigma)
        return read_run(certify_run(smoothed, images, folder / name, n0=50, n=200, seed=0, mode=mode).folder)

    return made


@pytest.fixture(scope="module")
def runs(make):
    """Errs among the dark; errs among the bright, and reaches further."""
    return [make("dark", 92, 0.12), make("bright", 110, 0.25)]


def radii_of(run, bound):
    """By image: the radius under the bound, -1 where it is not certified for the right label."""
    certificates = {record.image: (certificate_of(record, bound), record.label) for record in run.records}
    return {image: c.radius if c.answer == label else -1.0 for image, (c, label) in certificates.items()}


def test_differences_are_those_of_the_records(runs):
    found = differences(summarise(runs, RADII))
    assert [(each.name, each.certifier) for each in found] == [("bright", "multiclass"), ("bright", "cohen")]
    assert any(change.gained for change in found[0].exchanges)
    assert any(change.lost for change in found[0].exchanges)
    for each, bound in zip(found, (Multiclass(), Cohen()), strict=True):
        first, second = (radii_of(run, bound) for run in runs)
        for radius, change in zip(RADII, each.exchanges, strict=True):
            gained = sum(second[image] > radius >= first[image] for image in first)
            lost = sum(first[image] > radius >= second[image] for image in first)
            assert (change.gained, change.lost) == (gained, lost)
            less, differing = min(gained, lost), gained + lost
            tail = sum(math.comb(differing, k) for k in range(less + 1)) / 2**differing
            assert change.p_value == pytest.approx(min(1.0, 2 * tail))
        each_image = [max(second[image], 0.0) - max(first[image], 0.0) for image in first]
        assert each.average_radius.mean == pytest.approx(statistics.mean(each_image))
        assert each.average_radius.standard_error == pytest.approx(
            statistics.stdev(each_image) / math.sqrt(len(VALUES))
        )
    assert found[0] != replace(found[1], certifier="multiclass")  # or one bound could stand for both


def test_in_the_other_order_gains_are_losses(runs):
    there, back = (differences(summarise(ordered, RADII))[0] for ordered in (runs, runs[::-1]))
    assert [(c.gained, c.lost, c.p_value) for c in there.exchanges] == [
        (c.lost, c.gained, c.p_value) for c in back.exchanges
    ]
    assert there.average_radius.mean == pytest.approx(-back.average_radius.mean)


def test_copies_of_an_image_change_nothing(runs):
    def doubled(run):
        again = [replace(r, index=r.index + len(VALUES), name=f"again {r.name}") for r in run.records]
        return replace(run, records=[*run.records, *again], header={**run.header, "images": 2 * len(VALUES)})

    assert differences(summarise([doubled(run) for run in runs], RADII)) == differences(summarise(runs, RADII))


def unlabelled(run):
    return replace(run, records=[replace(record, label=None) for record in run.records])


def of_other_images(run):
    return replace(run, records=[replace(record, image=f"sha256:{record.index:064x}") for record in run.records])


def of_other_labels(run):
    return replace(run, records=[replace(record, label=1 - record.label) for record in run.records])


def chosen_afterwards(run):
    return replace(run, header={**run.header, "evaluated": run.question.to_json()})


def unfinished(run):
    return replace(run, records=run.records[:-1])


@pytest.mark.parametrize("spoil", [unlabelled, of_other_images, of_other_labels, chosen_afterwards, unfinished])
def test_what_cannot_be_compared_is_not(runs, spoil):
    summary = summarise([runs[0], spoil(runs[1])], RADII)
    assert differences(summary) == []
    assert difference_table(summary) == ""
    assert "Compared with" not in page_of(summary)
    assert summary.envelope == {} or spoil is unlabelled


def test_one_that_cannot_be_compared_does_not_keep_the_others_from_it(runs, make):
    third = make("third", 100, 0.25)
    summary = summarise([runs[0], unfinished(runs[1]), third], RADII)
    assert [each.name for each in differences(summary)] == ["third", "third"]
    assert differences(summarise([runs[0]], RADII)) == []


def test_runs_that_stop_early_are_compared_where_they_were_asked_the_same(make):
    first, same, other = (
        make(name, threshold, 0.25, Mode("curve", radii))
        for name, threshold, radii in (("a", 92, (0.1, 0.2)), ("b", 110, (0.1, 0.2)), ("c", 110, (0.1, 0.3)))
    )
    (found,) = differences(summarise([first, same, other], [0.1]))
    assert (found.name, found.certifier) == ("b", "curve")


def test_the_table_says_what_is_compared(runs, tmp_path):
    told, heading, _, *rows = difference_table(summarise(runs, [0.0, 0.4])).splitlines()
    assert told.startswith("compared with dark: + images that only the run certifies for the right label, ")
    assert heading == "| run | bound | average radius: difference ± standard error | l2 r = 0 | l2 r = 0.4 |"
    assert [row.split(" | ")[0] for row in rows] == ["| bright", "| bright"]
    again = replace(runs[0], folder=tmp_path / "dark")  # the same run in another place
    told, _, _, row, _ = difference_table(summarise([runs[0], again], [0.0])).splitlines()
    assert told.startswith("compared with dark-1: ")
    assert row == "| dark-2 | multiclass | +0 ± 0 | +0 -0 (p 1) |"
    assert "<h2>Compared with dark-1</h2>" in page_of(summarise([runs[0], again], [0.0]))
