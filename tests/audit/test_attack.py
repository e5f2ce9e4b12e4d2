"""The attack is a strong one (foolbox as a second opinion), finds false certificates, and finds none where all are true."""

import base64
import json
import re
import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import optimize, stats
from torch import nn

from dsmooth import SmoothedClassifier, TorchClassifier, open_images, read_run
from dsmooth.audit.attack import Attack, attack_run
from dsmooth.audit.ball import snap, snap_covered
from dsmooth.audit.findings import curve_of, read_findings
from dsmooth.audit.pgd import Ascent, no_noise
from dsmooth.errors import BadModel, BadParameter, BadRun
from dsmooth.records.digests import digest_image
from dsmooth.records.schema import votes_from_json, votes_to_json
from dsmooth.runs.certify import certify_run
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.sources.known import source_of
from dsmooth.theory.laws.lighting import Lighting
from dsmooth.theory.top_k import TopK
from dsmooth.theory.votes import Phase, Votes
from forging import Forger
from support import Linear, dsmooth, inside

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:scipy", "ignore::DeprecationWarning:foolbox")

INF = float("inf")
SIDE = 8
QUICK = Attack(ascent=Ascent(8, 4), strengths=(0.05, 0.3), n=60)


def network(seed=0):
    torch.manual_seed(seed)
    layers = nn.Sequential(
        nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(192, 5)
    )
    return layers.eval()


FOOLBOX = {1.0: "SparseL1DescentAttack", 2.0: "L2PGD", INF: "LinfPGD"}


@pytest.mark.parametrize(("norm", "radius"), [(1.0, 1.0), (2.0, 0.4), (INF, 0.03)])
def test_as_strong_as_foolbox(norm, radius):
    import foolbox

    model = network()
    pixels = np.random.default_rng(0).integers(0, 256, (40, SIDE, SIDE, 3)).astype(np.uint8)
    x = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).float() / 255
    labels = model(x).argmax(1)
    logits = TorchClassifier(model).network()
    ours = 0
    for one, label in zip(pixels, labels.tolist(), strict=True):
        delta = Ascent(40).attack(logits, one, label, no_noise, norm=norm, radius=radius, seed=0)
        length = np.linalg.norm(delta.ravel(), norm)
        assert length <= radius * (1 + 1e-5)
        moved = torch.from_numpy((one / 255 + delta).astype(np.float32).transpose(2, 0, 1).copy())[None]
        assert float(moved.min()) >= -1e-6
        assert float(moved.max()) <= 1 + 1e-6
        ours += int(model(moved).argmax()) != label
    theirs = getattr(foolbox.attacks, FOOLBOX[norm])(steps=40)
    with torch.random.fork_rng():
        _, _, found = theirs(foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), x, labels, epsilons=radius)
    assert 5 <= int(found.sum()) <= 38  # a radius at which attacks can differ
    assert ours >= int(found.sum()) - 2


def test_foolbox_finds_no_flip_inside_certified_balls(tmp_path):
    """An attack that is not ours, on the smoothed classifier that is ours."""
    import foolbox

    _, images = made(tmp_path)
    smoothed = SmoothedClassifier(network(), None, 0.25)
    certificates = smoothed.certify(np.stack([image.pixels for image in images]), n=1000, seed=0)
    model, found = network(), 0
    generator = torch.Generator().manual_seed(0)

    class Smoothed(nn.Module):
        def forward(self, x):
            noise = 0.25 * torch.randn((32, *x.shape), generator=generator)
            logits = model((x[None] + noise).flatten(0, 1))
            return logits.softmax(1).view(32, len(x), -1).mean(0).log()

    attack, wrapped = (
        foolbox.attacks.L2PGD(steps=20),
        foolbox.PyTorchModel(Smoothed().eval(), bounds=(0, 1), device="cpu"),
    )
    for image, certificate in zip(images, certificates, strict=True):
        if certificate.answer is None:
            continue
        radius = Fraction(certificate.radius)
        x = torch.from_numpy(image.pixels.transpose(2, 0, 1).copy())[None].float() / 255
        with torch.random.fork_rng():
            _, moved, _ = attack(wrapped, x, torch.tensor([certificate.answer]), epsilons=certificate.radius)
        delta = (moved - x)[0].numpy().transpose(1, 2, 0)
        attacked = snap(image.pixels, delta, 2.0, radius)
        assert inside(image.pixels, attacked, 2.0, radius)
        prediction = smoothed.predict(attacked, n=200, alpha=1e-6, seed=1)
        assert prediction.answer in (None, certificate.answer)
        found += 1
    assert found >= 3


def test_more_draws_of_the_noise_make_a_stronger_attack():
    model = network(1)
    logits = TorchClassifier(model).network()
    pixels = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    x = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float() / 255
    noise = 0.5 * torch.randn((4000, *x.shape), generator=torch.Generator().manual_seed(9))
    with torch.inference_mode():
        shares = model(x + noise).softmax(1).mean(0)
        label = int(shares.argmax())
    chance = np.random.default_rng(0)

    def draw(draws):
        return 0.5 * chance.standard_normal((draws, *pixels.shape), dtype=np.float32)

    results = []
    for draws in (1, 32):
        delta = Ascent(10, draws).attack(logits, pixels, label, draw, norm=2.0, radius=0.5, seed=0)
        moved = x + torch.from_numpy(delta.transpose(2, 0, 1).copy()).float()
        with torch.inference_mode():
            results.append(float(model(moved + noise).softmax(1).mean(0)[label]))
    assert results[1] < float(shares[label]) - 0.005
    assert results[1] < results[0]


def made(tmp_path, count=6):
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)
    model = network()
    x = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).float() / 255
    np.savez(tmp_path / "images.npz", images=pixels, labels=model(x).argmax(1).numpy())
    return tmp_path / "images.npz", open_images(tmp_path / "images.npz")


def test_true_certificates_have_no_flips_and_the_findings_are_whole(tmp_path):
    _, images = made(tmp_path)
    smoothed = SmoothedClassifier(network(), None, 0.25)
    run = certify_run(smoothed, images, tmp_path / "run", n=500, seed=0)
    certified = [record for record in run.records if record.answer is not None]
    assert len(certified) >= 3
    found = attack_run(run, images, smoothed, QUICK)
    assert found.flips == []
    assert sum(f.inside for f in found.all) >= 2 * len(certified)  # l2 and l_inf
    curve = curve_of(found)
    assert curve.images == 6
    assert all(0 <= c <= s <= 1 for c, s in zip(curve.certified, curve.smoothed, strict=True))
    assert read_findings(tmp_path / "run" / "attack") == found
    balls = [f for f in found.all if f.defended and f.strength == f.radius]
    assert all(f.inside for f in balls)
    assert max(float(f.distance) / float(f.radius) for f in balls if f.norm == 2.0) > 0.98  # not short of the edge


def test_it_goes_on_where_it_stopped(tmp_path):
    _, images = made(tmp_path)
    smoothed = SmoothedClassifier(network(), None, 0.25)
    run = certify_run(smoothed, images, tmp_path / "run", n=60, seed=0)
    whole = attack_run(run, images, smoothed, QUICK)
    path = tmp_path / "run" / "attack" / "attack.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    seen = []
    again = attack_run(run, images, smoothed, QUICK, resume=True, on_image=lambda name, _: seen.append(name))
    assert again == whole
    assert seen == ["2", "3", "4", "5"]
    with pytest.raises(BadRun, match="--resume"):
        attack_run(run, images, smoothed, QUICK)
    with pytest.raises(BadRun, match="made with n 60, not 61"):
        attack_run(run, images, smoothed, Attack(ascent=Ascent(8, 4), strengths=(0.05, 0.3), n=61), resume=True)
    for damage in (b"", b"[]\n", b'{"schema": 9}\n', lines[0] + b'{"name": 1}\n', lines[0] + b"\xff\n"):
        path.write_bytes(damage)
        with pytest.raises(BadRun, match=r"attack\.jsonl"):
            read_findings(tmp_path / "run" / "attack")


LIE = [False]


class Liar(Linear):
    """Answers 1 always while it is certified, and by brightness when it is attacked: its certificates are false."""

    def forward(self, x):
        margin = x.float().mean(dim=(1, 2, 3)) - 0.5
        return torch.stack([-margin, margin + (10.0 if LIE[0] else 0.0)], dim=1)


def test_false_certificates_are_found_and_everything_is_kept(tmp_path):
    pixels = np.stack([np.full((SIDE, SIDE, 3), level, np.uint8) for level in (131, 132)])
    np.savez(tmp_path / "images.npz", images=pixels, labels=[1, 1])
    images = open_images(tmp_path / "images.npz")
    smoothed = SmoothedClassifier(Liar(), None, 0.25)
    LIE[0] = True
    run = certify_run(smoothed, images, tmp_path / "run", n=1000)
    LIE[0] = False
    found = attack_run(run, images, smoothed, QUICK)
    assert {flip.name for flip in found.flips} == {"0", "1"}
    for flip in found.flips:
        kept = np.asarray(Image.open(tmp_path / "run" / "attack" / f"flip-{flip.digest[:16]}.png"))
        assert digest_image(kept) == flip.digest
        assert float(flip.distance) < float(flip.radius)
        assert (flip.certified, flip.answer) == (1, 0)
        prediction = smoothed.predict(kept, n=QUICK.n, alpha=QUICK.alpha, seed=QUICK.seed)
        assert [list(pair) for pair in prediction.votes.ranked()] == flip.votes  # seen again from what was kept


def test_what_cannot_be_attacked_is_refused(tmp_path):
    _, images = made(tmp_path)
    run = certify_run(SmoothedClassifier(network(), None, 0.25), images, tmp_path / "run", n=20)

    class Opaque:
        name, class_names, input_size = "opaque", None, None

        def prepared(self, backend):
            return lambda x: [0] * len(x)

        def digest(self):
            return "0" * 64

    with pytest.raises(BadModel, match="needs gradients, and opaque has none"):
        attack_run(run, images, SmoothedClassifier(Opaque(), None, 0.25), QUICK)
    with pytest.raises(BadRun, match="another classifier"):
        attack_run(run, images, SmoothedClassifier(network(5), None, 0.25), QUICK)
    with pytest.raises(BadRun, match="not among the images"):
        attack_run(run, images[:3], SmoothedClassifier(network(), None, 0.25), QUICK)
    for bad in ({"n": 0}, {"strengths": (0.0,)}, {"strengths": (float("nan"),)}, {"alpha": 2}, {"seed": -1}):
        with pytest.raises(BadParameter):
            Attack(**bad)
    with pytest.raises(BadParameter, match="steps"):
        Ascent(0)
    assert not (tmp_path / "run" / "attack").exists()


def test_the_command_and_its_page(tmp_path, monkeypatch):
    path, _ = made(tmp_path, 2)
    (tmp_path / "attacked_for_test.py").write_text(
        "import torch\nfrom torch import nn\n\ndef model():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 12, 3), nn.ReLU(), nn.Flatten(), "
        "nn.Linear(192, 5))\n"
    )
    monkeypatch.chdir(tmp_path)
    model = ["-c", "import:attacked_for_test:model", "-d", "none"]
    assert dsmooth("certify", path, *model, "--n", "100", "-o", "run").code == 0
    options = ["--images", path, *model, "--steps", "4", "--draws", "2", "--n", "60", "--strengths", "0.1"]
    done = dsmooth("attack", "run", *options)
    assert done.code == 0, done.err
    assert "0 flips among" in done.out
    assert json.loads((tmp_path / "run/attack/attack.jsonl").read_text().splitlines()[0])["strengths"] == [0.1]
    assert dsmooth("attack", "run", *options).code == 2
    assert dsmooth("report", "run").code == 0
    page = (tmp_path / "run" / "report" / "report.html").read_text()
    assert "Under attack" in page
    (picture,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)" alt="Accuracy against', page)
    assert "undefended classifier, attacked" in base64.b64decode(picture).decode()


@pytest.mark.parametrize("share", [0.97, 1.03])
def test_light_and_pixels_are_attacked_together(share):
    """Inside the edge of what a linear classifier's certificate covers no attack succeeds, and beyond it this one does."""
    law, value = Lighting(0.1, brightness=0.1), 150
    pixels = np.full((4, 4, 3), value, np.uint8)
    smoothed = SmoothedClassifier(Linear(), None, law)
    turning = np.full(pixels.shape, 127 - value, np.int64)  # the mean just below a half
    edge = law.sigma * float(law._cost(turning)) ** 0.5
    assert edge < 0.5 * np.linalg.norm(turning / 255)  # it is light, more than pixels, that turns the answer
    source = source_of(law)

    def draw(draws):
        rows = source.noisy([(pixels, Chunk(Phase.PROBE, bytes(16), 0, draws))], draws)
        return np.asarray(rows.steps) / np.float32(255) - pixels / np.float32(255)

    delta = Ascent(steps=40, draws=32).attack(
        smoothed.denoised_logits(Linear()), pixels, 1, draw,
        norm=2.0, radius=share * edge, seed=0, spread=law.spread(pixels.shape),
    )  # fmt: skip
    moved = snap_covered(pixels, delta, law, Fraction(share * edge))
    assert law.covers(moved.astype(np.int64) - pixels, Fraction(share * edge))
    assert smoothed.predict(moved, n=4000, alpha=1e-6, seed=1).answer in ({1, None} if share < 1 else {0, None})
    assert (moved.mean() < 127.5) == (share > 1)


def test_a_run_that_covers_light_is_attacked_and_holds(tmp_path):
    np.savez(
        tmp_path / "x.npz", images=np.random.default_rng(3).integers(90, 200, (4, 6, 5, 3), np.uint8), labels=[1] * 4
    )
    images = open_images(tmp_path / "x.npz")
    smoothed = SmoothedClassifier(Linear(), None, Lighting(0.1, brightness=0.1, ramp=0.1))
    run = certify_run(smoothed, images, tmp_path / "run", n=400)
    found = attack_run(run, images, smoothed, Attack(strengths=(0.05, 0.9)))
    assert not found.flips
    assert any(finding.inside for finding in found.all)
    assert any(finding.answer == 0 for finding in found.all)  # beyond what was certified


AHEAD, SHARE = 0.5, 0.9
"""How far the border of class 0 is at PLACES, in sigmas, and the part of what is beyond it that is class 1."""

PLACES = np.full((1, 1, 3), 128, np.uint8)
PLACES[0, 0, 0] = 80


class Places(nn.Module):
    """Class 0 up to a border along the first coordinate; beyond it class 1 or 2, by the second one; class 3 never.

    At a change of u sigmas along the first coordinate and v along the second, the smoothed classifier has class 0 with
    probability Phi(AHEAD - u), and class 2 with the rest's part Phi(v + Phi^-1(1 - SHARE)).
    """

    sigma = 255 * 0.25

    def forward(self, x):
        steps = x[:, :, 0, 0].float() * 255
        first = steps[:, 0] - float(PLACES[0, 0, 0]) - AHEAD * self.sigma
        second = steps[:, 1] - float(PLACES[0, 0, 1]) + float(stats.norm.ppf(1 - SHARE)) * self.sigma
        return 0.2 * torch.stack([-first, first - second.relu(), first - (-second).relu(), -1000 + 0 * first], dim=1)


def place_of_first(u, v):
    """P(class 0) less P(class 2), at this change in sigmas."""
    inside = stats.norm.cdf(AHEAD - u)
    return inside - (1 - inside) * stats.norm.cdf(v + stats.norm.ppf(1 - SHARE))


def edge_of_two():
    """How far away class 0 loses the second place, in sigmas: the least over all directions, which is not straight on."""

    def along(angle):
        return optimize.brentq(lambda r: place_of_first(r * np.cos(angle), r * np.sin(angle)), 0, 9)

    found = optimize.minimize_scalar(along, bounds=(0, 1), method="bounded")
    assert along(0.0) > 1.05 * found.fun
    return float(found.fun)


@pytest.fixture(scope="module")
def among_two(tmp_path_factory):
    """A run whose certificate is for the first two places, and what attacks it."""
    folder = tmp_path_factory.mktemp("places")
    np.savez(folder / "images.npz", images=PLACES[None], labels=[0])
    (folder / "names.txt").write_text("a\nb\nc\nd\n")
    names = ("--class-names", "names.txt", "--top", "2")
    done = dsmooth("certify", "images.npz", *PLACE, *names, "--n", "20000", "--seed", "4", "-o", "run", cwd=folder)
    assert done.code == 0, done.err
    return folder


PLACE = ("-c", "import:audit.test_attack:Places", "-d", "none", "--dtype", "fp32", "--backend", "eager")
HARD = ("--images", "images.npz", *PLACE[:4], "--steps", "60", "--draws", "256", "--strengths", "0.1", "--n", "60000")


def attacked_ball(folder):
    """What became of the ball in the theorem's norm."""
    found = read_findings(folder / "run" / "attack")
    return next(f for f in found.all if f.norm == 2.0 and f.strength == f.radius and f.defended)


def copied(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_place_among_the_first_two_is_attacked_as_one(among_two, tmp_path):
    """Inside the ball the first place is lost, for sure, and nothing is wrong with that."""
    folder = copied(among_two, tmp_path)
    (record,) = read_run(folder / "run").records
    assert record.answer == 0
    assert 0.75 * edge_of_two() < float(record.radius) / 0.25 < edge_of_two()
    done = dsmooth("attack", "run", *HARD, cwd=folder)
    assert done.code == 0, done.out + done.err
    assert "0 flips among" in done.out
    ball = attacked_ball(folder)
    counts = dict(map(tuple, ball.votes))
    assert ball.inside
    assert ball.answer == 1
    assert stats.binomtest(counts[1], counts[0] + counts[1]).pvalue < 1e-9
    assert counts[0] > counts[2]


def test_a_false_certificate_for_the_first_two_is_found(among_two, tmp_path):
    """The votes say just enough for a fiftieth beyond the true edge, and everything is sealed again."""
    folder = copied(among_two, tmp_path)
    forger, rule = Forger.at(folder / "run"), TopK(2, 4)
    (record,) = forger.records

    def invented(hits):
        rest = 20000 - hits
        votes = Votes({0: hits, 1: rest - rest // 10, 2: rest // 10}, 20000)
        return votes, rule.certify(votes_from_json(record.selection), votes, record.law, alpha=0.001, dim=3).radius

    wanted = 1.02 * edge_of_two() * 0.25
    hits = next(hits for hits in range(record.estimation["counts"][0][1], 20000, 5) if invented(hits)[1] > wanted)
    forger.change(0, estimation=votes_to_json(invented(hits)[0])).seal()
    assert wanted < float(forger.records[0].radius) < 1.002 * wanted
    done = dsmooth("attack", "run", *HARD, cwd=folder)
    assert done.code == 1, done.out + done.err
    assert "BUG: 0 is certified as 0 in the top 2 within l2" in done.out
    assert "but is behind 2 others, the first of them 1" in done.out
    ball = attacked_ball(folder)
    assert ball.flip
    kept = np.asarray(Image.open(folder / "run" / "attack" / f"flip-{ball.digest[:16]}.png"))
    moved = (kept.astype(int) - PLACES)[0, 0] / Places.sigma
    assert place_of_first(*moved[:2]) < 0.0  # by the closed form: the certificate is false there
    assert moved[1] > 0.2  # which takes more than walking away from the answer


def test_walking_away_from_the_answer_alone_would_miss_it():
    """Against the first place, at the same radius: the second one is kept."""
    radius = 1.02 * edge_of_two() * 0.25
    draws = np.random.default_rng(0)

    def draw(count):
        return 0.25 * draws.standard_normal((count, *PLACES.shape), dtype=np.float32)

    places = {}
    for top in (1, 2):
        delta = Ascent(60, 256).attack(Places(), PLACES, 0, draw, norm=2.0, radius=radius, seed=0, top=top)
        places[top] = place_of_first(*(delta[0, 0, :2] / 0.25))
    assert places[1] > 0.01
    assert places[2] < -0.005
