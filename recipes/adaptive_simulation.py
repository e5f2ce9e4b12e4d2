"""What the modes save, simulated: the rules themselves, on the same votes as mode fixed.

    python -m recipes.adaptive_simulation

The images have the two spreads of p below: piecewise linear in the true radius, about as in the certified-accuracy curves of
CIFAR-10 at sigma .25 of Cohen et al. 2019 (a network trained with noise) and of this project's off-the-shelf DnCNN.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import special

from dsmooth.theory.certifiers import Certificate, Cohen
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.modes import FIXED, Mode, Plan
from dsmooth.theory.stopping import StoppingRule, looks, stopped
from dsmooth.theory.votes import Votes

IMAGES, N0, ALPHA = 4000, 100, 0.001
RADII = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)  # in sigmas
SPREADS = {  # share of the images below a radius in sigmas (negative: the answer is another one)
    "trained with noise": ([0, 0.21, 0.39, 0.56, 0.73, 0.88, 1], [-2.5, 0, 1, 2, 3, 3.8, 5.5]),
    "off-the-shelf denoiser": ([0, 0.30, 0.62, 0.85, 0.97, 1], [-2, 0, 1, 2, 3, 4]),
}
MODES = {
    "fixed": FIXED,
    "curve": Mode("curve", RADII),
    "decision at 1": Mode("decision", (1.0,)),
    "decision at 2": Mode("decision", (2.0,)),
    "radius": Mode("radius"),
}


def certify(plan: Plan, selection: Votes, votes: Mapping[int, Votes]) -> Certificate:
    """The certificate of an image with these votes after each number of them at which anyone looks."""
    demand = plan.demand
    if not isinstance(demand, StoppingRule):
        return plan.certify(selection, votes[demand if isinstance(demand, int) else demand.size(selection)], 1)
    return plan.certify(selection, stopped(demand, selection, votes.get, 1), 1)


def drawn(p: float, n: int, rng: np.random.Generator) -> tuple[Votes, dict[int, Votes]]:
    """Selection votes, and the estimation votes after each look, for a label of probability p."""
    places = looks(n)
    hits = np.concatenate([[0], rng.binomial(np.diff(places), p).cumsum()])
    votes = {place: Votes({1: int(count)}, place) for place, count in zip(places, hits, strict=True)}
    return Votes({1: int(rng.binomial(N0, p))}, N0), votes


def main() -> None:
    lost = " | ".join(f"lost at {radius:g}" for radius in RADII)
    print(f"| p as | N | mode | times fewer samples | average radius | more abstained | {lost} |")
    print("| --- " * (6 + len(RADII)) + "|")
    for name, (shares, radii) in SPREADS.items():
        rng = np.random.default_rng(0)
        ps = special.ndtr(np.interp(rng.random(IMAGES), shares, radii))
        for n in (10_000, 100_000):
            images = [drawn(p, n, rng) for p in ps]
            fixed: list[Certificate] = []
            for title, mode in MODES.items():
                plan = mode.plan(Cohen(), Gaussian(1.0), n=n, alpha=ALPHA)
                found = [certify(plan, *image) for image in images]
                fixed = fixed or found
                times = IMAGES * (N0 + n) / sum(N0 + c.estimation.trials for c in found)
                points = [
                    _points([one.radius > r for one in fixed], [c.radius > r for c in found])
                    if r in (mode.radii or RADII)
                    else ""
                    for r in RADII
                ]
                abstained = _points([c.abstained for c in found], [c.abstained for c in fixed])
                radius = float(np.mean([c.radius for c in found]))
                print(f"| {name} | {n:,} | {title} | {times:.1f} | {radius:.3f} | {abstained} | {' | '.join(points)} |")


def _points(more: list[bool], less: list[bool]) -> str:
    """Percentage points between two shares of the images."""
    return f"{100 * (float(np.mean(more)) - float(np.mean(less))):.2f}"


if __name__ == "__main__":
    main()
