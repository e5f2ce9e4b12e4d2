"""An image and the centres of a cover: what counts does not depend on batches, workers or what was asked ahead."""

import numpy as np
import pytest

from dsmooth import SmoothedClassifier
from dsmooth.errors import BadParameter
from dsmooth.records.digests import digest_image
from dsmooth.smoothing.chunks import MasterKey, stream_at
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.splitting import Splitting
from dsmooth.theory.modes import Mode
from dsmooth.theory.threats.known import threat_from_text
from dsmooth.theory.threats.listed import Listed
from dsmooth.theory.votes import Phase
from support import Linear, put_to_the_vote, question

PIXELS = [
    np.random.default_rng(i).integers(low, 240, (6, 6, 3)).astype(np.uint8) for i, low in enumerate((90, 30, 20, 0))
]
MODE = Mode("cover", (0.05, 0.1), against=threat_from_text("gamma 0.8 1.3"))


def asked(**terms):
    return question(Gaussian(0.25), **{"n0": 30, "n": 600, "alpha": 0.01, "mode": MODE, **terms})


def votes(batch, workers, ahead, heard=None):
    def listen(tally, chunk, labels):
        if heard is not None:
            heard.setdefault(tally.image.name, []).extend(labels)

    found = put_to_the_vote(
        Linear(), PIXELS, asked(), MasterKey.draw(1), on_votes=listen, batch=batch, workers=workers, ahead=ahead
    )
    return {tally.image.name: tally for tally in found}


def test_votes_do_not_depend_on_batch_workers_or_what_is_asked_ahead():
    heard = {}
    first = votes(64, 1, True, heard)
    assert len({tally.cover.rho for tally in first.values() if tally.cover}) >= 1
    assert {tally.certificate(asked()).abstained for tally in first.values()} == {True, False}
    for batch, workers, ahead in ((7, 1, False), (100, 3, True)):
        again = {}
        other = votes(batch, workers, ahead, again)
        assert again == heard  # in the order of the centres, nothing behind the first that failed
        for name, tally in first.items():
            assert other[name].estimation == tally.estimation
            assert other[name].certificate(asked()) == tally.certificate(asked())
    for name, tally in first.items():
        trials = tally.trials[Phase.SELECTION] + tally.estimation.pooled.trials
        assert len(heard[name]) == trials <= tally.drawn


def test_each_centre_has_noise_of_its_own():
    tally = votes(64, 1, False)["0"]
    streams = [centre.streams[Phase.ESTIMATION] for centre in tally.centres]
    assert len(set(streams)) == len(streams) >= 3
    assert tally.streams[Phase.ESTIMATION] not in streams
    for centre, stream in zip(tally.centres, streams, strict=True):
        assert stream == stream_at(tally.streams[Phase.ESTIMATION], digest_image(centre.image.pixels))


def test_a_family_is_certified_in_python():
    smoothed = SmoothedClassifier(Linear(), None, 0.25)
    dark = Listed("three exposures", lambda pixels: [pixels, pixels - 1, pixels - 2])
    mode = Mode("cover", (0.02, 0.05), against=dark)
    certificate = smoothed.certify(np.full((6, 6, 3), 230, np.uint8), mode=mode, n=400, seed=0)
    assert certificate.answer == 1
    assert certificate.against == "three exposures (2 centres)"  # one of them serves two
    assert "nor three exposures (2 centres)" in str(certificate)


def test_radii_follow_from_the_noise():
    assert asked(mode=Mode("cover", against=MODE.against)).mode.radii == pytest.approx((0.125, 0.25, 0.5), rel=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mode("cover", (0.25,)), "needs a family of transformations"),
        (lambda: Mode("cover", (0.0, 0.25), against=MODE.against), "radii above 0"),
        (lambda: Mode("fixed", against=MODE.against), "belongs to mode cover"),
        (lambda: asked(norm=float("inf")), "measured in l2: leave out --norm"),
        (lambda: question(Splitting(16), mode=MODE), "measured in l2, under Gaussian noise, got noise splitting"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(BadParameter, match=message):
        make()
