"""Covers are complete: no parameter leads to an image that is farther than rho from every centre.

Against oracles that share no code with the families: formulas in float64, torch's grid_sample and convolutions, Pillow.
"""

import io
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from PIL import Image

from dsmooth.errors import BadImage, BadParameter
from dsmooth.theory.grid import is_within
from dsmooth.theory.threats.base import Boxes
from dsmooth.theory.threats.covering import Cover, budget_of, covers_of
from dsmooth.theory.threats.known import THREATS, threat_from_json, threat_from_text
from dsmooth.theory.threats.listed import Listed
from support import data

CASES = {
    "contrast": ("contrast 0.8 1.2", 0.25),
    "gamma": ("gamma 0.8 1.25", 0.25),
    "shift": ("shift 2", 0.25),
    "jpeg": ("jpeg 60", 0.5),
    "blur": ("blur 1", 0.25),
    "rotation": ("rotation 10", 0.5),
}


# --- oracles: (image (H, W, C), parameters (n, m)) -> images (n, H, W, C) ---------------------------------------------


def by_contrast(pixels, parameters):
    grey = np.asarray(Image.fromarray(pixels).convert("L"), dtype=np.float64)
    mean = int(grey.mean() + 0.5)
    values = np.arange(256)
    tables = np.clip(np.floor(mean + parameters * (values - mean) + 0.5), 0, 255).astype(np.uint8)
    return tables[:, pixels]


def by_gamma(pixels, parameters):
    tables = np.floor(255 * (np.arange(256) / 255) ** parameters + 0.5).astype(np.uint8)
    return tables[:, pixels]


def by_shift(pixels, parameters):
    made = []
    for across, down in parameters.astype(int):
        moved = np.roll(pixels, (down, across), axis=(0, 1))
        moved[: max(down, 0)], moved[:, : max(across, 0)] = 0, 0
        moved[len(moved) + min(down, 0) :], moved[:, moved.shape[1] + min(across, 0) :] = 0, 0
        made.append(moved)
    return np.stack(made)


def by_jpeg(pixels, parameters):
    made = []
    for (quality,) in parameters.astype(int):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=int(quality))
        made.append(np.asarray(Image.open(file)))
    return np.stack(made)


def by_rotation(pixels, parameters):
    """torch's own affine_grid and grid_sample, in float32, as torchvision turns tensors."""
    count, (height, width, _) = len(parameters), pixels.shape
    x = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].float().expand(count, -1, -1, -1)
    angles = torch.deg2rad(torch.from_numpy(parameters[:, 0]).float())
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros(count)
    theta = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], 1).view(-1, 2, 3)
    places = torch.nn.functional.affine_grid(theta, [count, 3, height, width], align_corners=False)
    turned = torch.nn.functional.grid_sample(x, places, "bilinear", "zeros", align_corners=False)
    return turned.round().clamp(0, 255).byte().numpy().transpose(0, 2, 3, 1)


def by_blur(pixels, parameters):
    """One convolution with the whole kernel, in float32; halves to even."""
    places = torch.arange(-3, 4, dtype=torch.float32)
    x = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[:, None].float()
    x = torch.nn.functional.pad(x, (3, 3, 3, 3), mode="reflect")
    line = torch.exp(-(places**2) / (2 * torch.from_numpy(parameters).float().clamp_min(1e-3) ** 2))
    line = line / line.sum(dim=1, keepdim=True)
    kernels = line[:, None, :, None] * line[:, None, None, :]
    return torch.nn.functional.conv2d(x, kernels).round().byte().numpy().transpose(1, 2, 3, 0)


ORACLES = {
    "contrast": by_contrast, "gamma": by_gamma, "shift": by_shift, "jpeg": by_jpeg, "rotation": by_rotation, "blur": by_blur,
}  # fmt: skip


def excess(cover, images):
    """For each image, the squared distance in steps from the nearest centre, less what rho allows; exact in float64."""
    centres = np.stack([centre.reshape(-1) for centre in cover.centres]).astype(np.float64)
    rows = images.reshape(len(images), centres.shape[1]).astype(np.float64)
    squares = (rows**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * rows @ centres.T
    return squares.min(1) - budget_of(cover.rho)


def drawn(threat, chance, count):
    low, high = np.array(threat.ranges).T
    if threat.whole:
        return chance.integers(low, high + 1, (count, len(low))).astype(np.float64)
    return chance.uniform(low, high, (count, len(low)))


def unseen(images, seen):
    """Those that were not among earlier ones: most parameters lead to an image that a neighbour led to."""
    keys = [hash(image.tobytes()) for image in np.ascontiguousarray(images)]
    new = [place for place, key in enumerate(keys) if key not in seen]
    seen.update(keys)
    return images[new]


def searched(threat, oracle, pixels, cover, chance, *, rounds, count=64):
    """The largest excess that a search finds which goes on around the worst parameters so far."""
    low, high = np.array(threat.ranges).T
    tried = np.concatenate([low[None], high[None], drawn(threat, chance, count)])
    worst = -np.inf
    for step in range(rounds):
        found = excess(cover, oracle(pixels, tried))
        worst = max(worst, float(found.max()))
        best = tried[np.argsort(found)[-8:]]
        width = (high - low) * 0.5 ** (step + 2)
        tried = np.clip(
            best[chance.integers(0, len(best), count)] + chance.uniform(-width, width, (count, len(low))), low, high
        )
        tried = np.rint(tried) if threat.whole else tried
    return worst


def pictures():
    """A smooth image, one of hard edges, and noise: 24 x 24."""
    chance = np.random.default_rng(0)
    down, across = np.mgrid[:24, :24]
    smooth = np.stack([5 * down + 60, 3 * across + 90, 140 - 2 * across + 2 * down], 2)
    edges = np.where(((down // 6 + across // 6) % 2)[..., None], [230, 180, 40], [20, 60, 120])
    return [smooth.astype(np.uint8), edges.astype(np.uint8), chance.integers(0, 256, (24, 24, 3)).astype(np.uint8)]


@pytest.mark.parametrize("family", CASES)
def test_no_image_of_a_family_is_far_from_every_centre(family):
    text, _ = CASES[family]
    threat, oracle, chance = threat_from_text(text), ORACLES[family], np.random.default_rng(1)
    covered = 0
    for pixels in pictures()[: 2 if family == "rotation" else 3]:
        for cover in covers_of(threat, pixels, (0.25, 0.5, 1.5)).values():
            covered += 1
            assert (excess(cover, oracle(pixels, drawn(threat, chance, 200))) <= 0).all()
            assert searched(threat, oracle, pixels, cover, chance, rounds=3) <= 0
            assert np.array_equal(cover.centres[0], pixels)
    assert covered >= 3


@pytest.mark.parametrize("family", CASES)
def test_a_cover_without_one_of_its_centres_has_a_gap_that_is_found(family):
    text, rho = CASES[family]
    threat, oracle, chance = threat_from_text(text), ORACLES[family], np.random.default_rng(2)
    pixels, rho = (pictures()[1], 1.5) if family in ("jpeg", "blur") else (pictures()[0], rho)
    cover = covers_of(threat, pixels, (rho,))[rho]
    assert len(cover.centres) >= 3
    for place in (1, len(cover.centres) // 2, len(cover.centres) - 1):
        less = Cover(rho, tuple(centre for i, centre in enumerate(cover.centres) if i != place))
        assert searched(threat, oracle, pixels, less, chance, rounds=6, count=128) > 0, place


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("family", CASES)
def test_a_million_parameters_of_a_real_image_are_covered(family):
    """1e6 draws where the parameter is real, all of them where it is whole; then a long search, for each of two radii."""
    threat, oracle, chance = threat_from_text(CASES[family][0]), ORACLES[family], np.random.default_rng(3)
    pixels = np.load(data() / "cifar10" / "test_every20.npz")["images"][7]
    covers = covers_of(threat, pixels, (0.25, 0.5)).values()
    assert len(covers) == 2
    if threat.whole:
        steps = [np.arange(low, high + 1) for low, high in threat.ranges]
        every = np.stack(np.meshgrid(*steps), -1).reshape(-1, len(steps)).astype(np.float64)
        assert all((excess(cover, oracle(pixels, every)) <= 0).all() for cover in covers)
        return
    seen: set[int] = set()
    for _ in range(1000):
        images = unseen(oracle(pixels, drawn(threat, chance, 1000)), seen)
        assert all((excess(cover, images) <= 0).all() for cover in covers)
    assert len(seen) > 100
    assert all(searched(threat, oracle, pixels, cover, chance, rounds=40, count=512) <= 0 for cover in covers)


@pytest.mark.parametrize("family", ["contrast", "gamma"])
def test_all_tables_of_a_family_are_listed_and_no_others(family):
    """Exact arithmetic on both sides: tables at random fractions are in the list, and each of the list is some table."""
    threat, chance = threat_from_text(CASES[family][0]), np.random.default_rng(4)
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    listed = {table.tobytes() for table in threat.tables(ramp)}
    ((low, high),) = threat.ranges
    values = np.sort(chance.uniform(low, high, 20000))[:, None]
    if family == "contrast":
        made = np.clip(np.floor(128 + values * (np.arange(256) - 128) + 0.5), 0, 255).astype(np.uint8)
    else:
        made = np.floor(255 * (np.arange(256) / 255) ** values + 0.5).astype(np.uint8)
    seen = {table.tobytes() for table in made}
    assert seen <= listed
    assert len(seen) > 0.5 * len(listed) if family == "gamma" else len(seen) > 1000
    steps = np.abs(np.diff(threat.tables(ramp).astype(int), axis=0))
    assert steps.max() == 1  # no table between two neighbours is left out


def test_the_order_of_gamma_jumps_is_certain():
    """All places where any level falls, to 40 digits: no two agree in 12 of them, and 40 are computed."""
    exact = mpmath.MPContext()
    exact.dps = 30
    logs = [exact.log(exact.mpf(n) / 510) for n in range(1, 510)]
    places = sorted(float(logs[2 * k] / logs[2 * v - 1]) for v in range(1, 255) for k in range(255))
    assert len(places) == 64770
    close = np.flatnonzero(np.diff(places) < 1e-12 * np.array(places[1:]))
    assert not len(close)


def test_contrast_at_a_jump_is_what_exact_arithmetic_says():
    """At c = 1/2 the odd levels lie on a half: they are rounded up, and the table of that one point is in the list."""
    threat = threat_from_text("contrast 0.4 0.6")
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    mean = 128
    exact = [min(255, max(0, int((Fraction(mean) + Fraction(v - mean, 2) + Fraction(1, 2)) // 1))) for v in range(256)]
    assert threat.apply(pixels, 0.5).reshape(-1).tolist() == exact
    assert any(table.tolist() == exact for table in threat.tables(pixels))


@pytest.mark.parametrize("family", CASES)
def test_the_family_itself_makes_what_the_oracle_makes(family):
    """Up to a level where float32 rounds to the other side of a half."""
    threat, chance = threat_from_text(CASES[family][0]), np.random.default_rng(5)
    parameters = drawn(threat, chance, 20)
    for pixels in pictures():
        made = np.stack([threat.apply(pixels, *row) for row in parameters]).astype(int)
        other = ORACLES[family](pixels, parameters).astype(int)
        assert np.abs(made - other).max() <= (1 if family in ("rotation", "blur") else 0)
        assert np.mean(made != other) < 1e-3


def test_distances_are_compared_in_whole_numbers():
    assert budget_of(0.5) == int((127.5) ** 2)
    for rho in (0.1, 0.25, 1 / 3, 51 / 255):
        budget = budget_of(rho)
        assert Fraction(budget, 255**2) <= Fraction(rho) ** 2 < Fraction(budget + 1, 255**2)
    step = np.array([[[3, 4, 0]]])
    assert is_within(step, 2.0, Fraction(6, 255))
    cover = Cover(5 / 255, (np.zeros((1, 1, 3), np.uint8),))
    assert cover.holds(step.astype(np.uint8)) == (Fraction(5 / 255) >= Fraction(5, 255))


def test_a_box_that_no_centre_is_near_to_has_no_cover():
    rows = np.array([[0, 0], [200, 0]], dtype=np.uint8)
    boxes = Boxes(np.zeros((1, 2), np.uint8), np.full((1, 2), 255, np.uint8), rows, rows[0])
    from dsmooth.theory.threats import covering

    assert covering._rows(boxes, budget_of(0.5)) is None


def test_a_list_of_ones_own_images_is_covered_one_by_one():
    chance = np.random.default_rng(6)
    many = chance.integers(0, 256, (30, 4, 4, 3)).astype(np.uint8)
    cover = covers_of(Listed("mine", lambda pixels: [*many, pixels]), many[3], (0.25,))[0.25]
    assert len(cover.centres) == 30
    assert all(cover.holds(picture) for picture in many)
    with pytest.raises(BadImage, match="expected uint8 images of shape"):
        covers_of(Listed("mine", lambda pixels: [pixels[1:]]), many[0], (0.25,))
    with pytest.raises(BadImage, match="at least one image"):
        covers_of(Listed("mine", lambda pixels: []), many[0], (0.25,))
    with pytest.raises(BadParameter, match="a function of Python, which no record holds"):
        covers_of(threat_from_json({"name": "listed", "label": "mine"}), many[0], (0.25,))


@pytest.mark.parametrize("family", CASES)
def test_families_are_written_and_read(family):
    threat = threat_from_text(CASES[family][0])
    assert threat_from_json(threat.to_json()) == threat
    assert threat.name == family
    assert threat.words
    assert "1" in threat.by or "Pillow" in threat.by


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"what a certificate is against must be one of {THREATS}, got ''"),
        ("snow 3", f"what a certificate is against must be one of {THREATS}, got 'snow'"),
        ("rotation", "expected rotation DEGREES, got 'rotation'"),
        ("rotation 10 20", "expected rotation DEGREES, got 'rotation 10 20'"),
        ("rotation ten", "expected rotation DEGREES with numbers, got 'rotation ten'"),
        ("rotation 90", "the degrees of a rotation must be a number from 0.02 to 45, got 90"),
        ("rotation nan", "the degrees of a rotation must be a number from 0.02 to 45, got nan"),
        ("shift 1.5", "expected shift PIXELS with whole numbers, got 'shift 1.5'"),
        ("shift 0", "the pixels of a shift must be a whole number of at least 1, got 0"),
        ("jpeg 101", "the least quality of jpeg must be a whole number of at most 100, got 101"),
        ("blur 0", "the sigma of a blur must be a number from 0.1 to 3, got 0"),
        ("contrast 1.2 0.8", "contrast must go from low to high, got 1.2 to 0.8"),
        ("gamma 0 1", "the low end of gamma must be a number from 0.25 to 4, got 0"),
        ("listed", "listed is for Python"),
    ],
)
def test_what_is_no_family_is_refused(text, message):
    with pytest.raises(BadParameter, match=message.replace("(", r"\(")):
        threat_from_text(text)


@pytest.mark.parametrize(
    "value", [None, {}, {"name": 3}, {"name": "snow"}, {"name": "shift", "most": 2.0}, {"name": "blur"}]
)
def test_records_of_no_family_are_refused(value):
    with pytest.raises(BadParameter):
        threat_from_json(value)


@pytest.mark.parametrize(
    ("text", "shape"), [("rotation 5", (65, 20, 3)), ("blur 2", (6, 20, 3)), ("shift 4", (4, 9, 1))]
)
def test_images_that_a_family_is_not_for_are_refused(text, shape):
    with pytest.raises(BadParameter, match=r"images|pixels"):
        covers_of(threat_from_text(text), np.zeros(shape, np.uint8), (0.25,))
