"""The statistics of a replay, held against exact laws; and honest votes from another backend are never called invented."""

import numpy as np
import pytest
from scipy import stats

from dsmooth import SmoothedClassifier, load_classifier, load_denoiser, open_images
from dsmooth.runs import replay
from dsmooth.runs.agreement import CONFIDENCE, FALSE_ALARM, missed, most_wrong, tolerated
from dsmooth.runs.certify import certify_run
from dsmooth.runs.recount import charged, recount
from dsmooth.runs.verify import Outcome, read_evidence
from dsmooth.theory.certifiers import Cohen, Multiclass
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.modes import Mode
from dsmooth.theory.votes import Votes
from support import data, question


@pytest.mark.parametrize("dtype", ["fp32", "tf32", "bf16", "of a forger"])
@pytest.mark.parametrize("asked", [1, 10, 180, 2_100, 100_000])
def test_what_is_tolerated_is_what_honest_rounding_reaches(dtype, asked):
    rate = {"fp32": 0.02, "tf32": 0.06}.get(dtype, 0.15)
    limit = tolerated(asked, dtype)
    assert stats.binom.sf(limit, asked, rate) <= FALSE_ALARM * (1 + 1e-9)
    assert limit == 0 or stats.binom.sf(limit - 1, asked, rate) > FALSE_ALARM


def test_none_of_2100_is_never_tolerated():
    assert tolerated(2_100, "bf16") < 500
    assert missed(2_100, tolerated(2_100, "bf16"), 1.0, 2_100) == 0.0


@pytest.mark.parametrize("asked", [50, 200, 1000])
@pytest.mark.parametrize("invented", [0.1, 0.3, 0.6])
def test_the_power_that_is_said_is_what_there_is(asked, invented):
    limit, votes = tolerated(asked, "fp32"), 1200
    expected = stats.hypergeom.cdf(limit, votes, round(invented * votes), asked)
    assert missed(asked, limit, invented, votes) == pytest.approx(expected, rel=1e-6, abs=1e-300)


@pytest.mark.parametrize("of", [30, 100, 400])
@pytest.mark.parametrize("part", [0.1, 0.4, 0.8, 1.0])
def test_more_votes_are_wrong_than_are_charged_as_rarely_as_is_said(of, part):
    """Exhaustion over how many are wrong, with the exact law of drawing without replacement."""
    asked = round(part * of)
    charge = np.array([most_wrong(different, asked, of) for different in range(asked + 1)])
    assert charge[0] < of or asked < 8
    for wrong in range(of + 1):
        chances = stats.hypergeom.pmf(np.arange(asked + 1), of, wrong, asked)
        assert chances[charge < wrong].sum() <= CONFIDENCE, wrong


@pytest.mark.parametrize(
    "mode", [Mode(), Mode("curve", (0.0, 0.1, 0.2)), Mode("decision", (0.1,))], ids=lambda m: m.name
)
def test_charging_takes_radius_and_never_gives_any(mode):
    law, rng = Gaussian(0.25), np.random.default_rng(0)
    asked = question(law, n0=20, n=1000, alpha=0.01, mode=mode)
    for p in (0.55, 0.8, 0.97):
        labels = [int(hit) for hit in rng.random(1020) < p]
        for length in range(20, 1021):  # to where the rule would have stopped
            if (found := recount(asked, labels[:length], 12)) is not None:
                break
        radii = [charged(asked, found, wrong, 12).radius for wrong in (0, 1, 20, 200, 2000)]
        assert radii[0] == found.certificate.radius
        assert radii == sorted(radii, reverse=True)
        assert radii[-1] == 0.0


def test_rivals_may_change_places_after_the_best_look():
    """Votes that may be another rival's are nothing to a rule that looks: honest runs of three classes were refused."""
    asked = question(Gaussian(0.25), n0=20, n=1000, alpha=0.01, mode=Mode("curve", (0.0, 0.2)))
    labels = [0] * 20 + [0] * 80 + [1] * 15 + [2] * 5 + [0, 2, 0, 0, 0] * 180
    (found,) = [one for n in range(21, 1021) if (one := recount(asked, labels[:n], 12)) is not None]
    assert found.estimation.best.of(1) > found.estimation.best.of(2)
    assert found.estimation.last.of(1) < found.estimation.last.of(2)
    for others in (0, 10, 1000):
        assert charged(asked, found, 0, 12, others).radius == found.certificate.radius > 0.0


def test_a_rule_that_bounds_the_rival_is_charged_for_votes_moved_between_rivals():
    """A place that the true votes do not justify, since 40 of them for the strongest rival are said to be another's."""
    asked = question(Gaussian(0.25), n0=20, n=1000, alpha=0.01, mode=Mode("decision", (0.05,), rivals=True))
    true = [0] * 20 + [0, 0, 1, 0, 1, 2, 0, 1, 2, 0] * 100
    told = list(true)
    for place in [place for place, label in enumerate(true) if label == 1][:40]:
        told[place] = 2
    honest, forged = (
        next(found for n in range(820, 1021, 100) if (found := recount(asked, labels[:n], 12)))
        for labels in (true, told)
    )
    assert honest.certificate.abstained
    assert not forged.certificate.abstained
    assert charged(asked, forged, 0, 12, 40).abstained


@pytest.mark.parametrize("certifier", [Cohen(), Multiclass()], ids=lambda c: c.name)
def test_what_is_charged_is_the_worst_that_can_have_been_meant(certifier):
    law = Gaussian(1.0)
    asked = question(law, n0=1, n=100, alpha=0.01, bound=certifier.name)
    labels = [0] + [0] * 90 + [1] * 6 + [2] * 4
    found = recount(asked, labels, 3)
    least = charged(asked, found, 5, 3).radius
    for meant in range(3):
        counts = {0: 85 if meant else 90, 1: 6 + 5 * (meant == 1), 2: 4 + 5 * (meant == 2)}
        true = certifier.certify(Votes({0: 1}, 1), Votes(counts, 100), law, alpha=0.01, dim=3)
        assert least <= true.radius


@pytest.mark.slow
def test_honest_records_of_another_backend_are_no_forgeries(tmp_path, monkeypatch):
    """200 records made with OpenVINO in bf16, replayed by torch in bf16: none is called invented."""
    pytest.importorskip("openvino")
    path = data() / "cifar10" / "test_every20.npz"
    network = load_classifier(f"cifar:resnet20@{data() / 'cifar10_models' / 'resnet20.safetensors'}")
    cleaner = load_denoiser("cifar10-stab")
    images = open_images(path)[:200]
    smoothed = SmoothedClassifier(network, cleaner, 0.5, dtype="bf16", backend="openvino")
    certify_run(smoothed, images, tmp_path / "run", n0=20, n=60)
    smoothed.close()

    def elsewhere(record, classifier, denoiser):
        return SmoothedClassifier(
            classifier, denoiser, law=record.law, dtype="bf16", backend="eager", batch=record.batch[0]
        )

    monkeypatch.setattr(replay, "smoothed_like", elsewhere)
    checks = list(replay.replayed(read_evidence(tmp_path / "run"), images, network, cleaner, 1.0))
    assert Outcome.FAILS not in {check.outcome for check in checks}, checks
