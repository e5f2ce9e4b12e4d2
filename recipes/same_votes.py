"""What other rules make of the votes of finished runs: randomised bounds, the first few places, and modes with looks.

    python -m recipes.same_votes RUN [RUN ...] [--n 100 1000] [--top 2 3 5 --classes 10]

Of each run's estimation votes the first n are taken. A randomised radius is the mean over 100 values of W, evenly spaced
from 0 to 1. Radii are means over the images that the plain bound certifies; for places, over all images, an abstention as 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dsmooth.records.schema import votes_from_json
from dsmooth.records.store import Run, read_run
from dsmooth.runs.verify import read_evidence
from dsmooth.theory.certifiers import Certificate, Certifier, Cohen, Multiclass
from dsmooth.theory.modes import FIXED, Mode, Plan
from dsmooth.theory.stopping import StoppingRule, stopped
from dsmooth.theory.top_k import TopK
from dsmooth.theory.votes import Label, Votes, counted

WEIGHTS = (np.arange(100) + 0.5) / 100


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--n", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--top", type=int, nargs="*", default=[2, 3, 5])
    parser.add_argument("--classes", type=int, default=10)
    chosen = parser.parse_args()
    weights(chosen.runs, chosen.n)
    places(chosen.runs, chosen.n, [Multiclass(), *(TopK(top, chosen.classes) for top in chosen.top)])
    modes(chosen.runs)


def weights(folders: Sequence[Path], numbers: Sequence[int]) -> None:
    """Prints what the randomised bounds gain."""
    print("| noise | n | bound | certified | mean radius | randomised: certified | mean radius on the same | gained |")
    print("| --- " * 8 + "|")
    for folder in folders:
        run = read_run(folder)
        for n in numbers:
            for plain, randomised in (
                (Cohen(), Cohen(randomised=True)),
                (Multiclass(), Multiclass(randomised=True)),
            ):
                rows = [
                    (
                        plain.certify(first, votes, run.question.law, alpha=run.question.alpha, dim=dim).radius,
                        [
                            randomised.certify(
                                first, votes, run.question.law, alpha=run.question.alpha, dim=dim, weight=float(weight)
                            ).radius
                            for weight in WEIGHTS
                        ],
                    )
                    for first, votes, dim in drawn(folder, run, n)
                ]
                print(row(str(run.question.law), n, plain.name, rows))


def places(folders: Sequence[Path], numbers: Sequence[int], rules: Sequence[Certifier]) -> None:
    """Prints what is promised of the first place, and of the first few."""
    print(
        "| noise | n | bound | certified | mean radius | beyond half a sigma | beyond one sigma |",
        "| --- " * 7 + "|",
        sep="\n",
    )
    for folder in folders:
        run = read_run(folder)
        for n in numbers:
            for rule in rules:
                law = run.question.law
                radii = np.array(
                    [
                        rule.certify(first, votes, law, alpha=run.question.alpha, dim=dim).radius
                        for first, votes, dim in drawn(folder, run, n)
                    ]
                )
                shares = " | ".join(f"{100 * np.mean(radii > part * law.level):.0f} %" for part in (0.0, 0.5, 1.0))
                certified, *beyond = shares.split(" | ")
                print(f"| {law} | {n:,} | {rule.name} | {certified} | {radii.mean():.4f} | {' | '.join(beyond)} |")


def modes(folders: Sequence[Path]) -> None:
    """Prints the share certified beyond 0, 1/2 and 1 sigma, and the estimation votes that it takes."""
    print("| noise | mode | beyond 0 | half a sigma | one sigma | votes an image |", "| --- " * 6 + "|", sep="\n")
    for folder in folders:
        run, evidence = read_run(folder), read_evidence(folder)
        asked, law = run.question, run.question.law
        radii = tuple(part * law.level for part in (0.0, 0.5, 1.0))
        plans = {
            "fixed, cohen": FIXED.plan("cohen", law, n=asked.n, alpha=asked.alpha),
            "fixed, multiclass": FIXED.plan("multiclass", law, n=asked.n, alpha=asked.alpha),
            "curve": Mode("curve", radii).plan("cohen", law, n=asked.n, alpha=asked.alpha),
            "curve, rivals": Mode("curve", radii, rivals=True).plan("cohen", law, n=asked.n, alpha=asked.alpha),
        }
        for name, plan in plans.items():
            held, votes = np.zeros(len(radii)), 0
            for record in run.records:
                later = evidence.labels(record)[asked.n0 :]
                certificate = certified(plan, votes_from_json(record.selection), later, record.dim)
                held += [certificate.radius > radius for radius in radii]
                votes += certificate.estimation.trials
            shares = " | ".join(f"{100 * part / len(run.records):.0f} %" for part in held)
            print(f"| {law} | {name} | {shares} | {votes / len(run.records):.0f} |")


def certified(plan: Plan, selection: Votes, labels: Sequence[Label | None], dim: int) -> Certificate:
    """What the plan makes of these votes, of which a rule that looks takes the first ones."""
    if isinstance(plan.demand, StoppingRule):
        votes = stopped(plan.demand, selection, lambda trials: counted(labels[:trials]), dim)
    else:
        votes = counted(labels)
    return plan.certify(selection, votes, dim)


def drawn(folder: Path, run: Run, n: int) -> list[tuple[Votes, Votes, int]]:
    """Of each image: the selection votes, the first n estimation votes, and its coordinates."""
    evidence = read_evidence(folder)
    return [
        (votes_from_json(record.selection), counted(evidence.labels(record)[run.question.n0 :][:n]), record.dim)
        for record in run.records
    ]


def row(noise: str, n: int, name: str, rows: Sequence[tuple[float, Sequence[float]]]) -> str:
    """A line of the table."""
    held = [(plain, float(np.mean(drawn))) for plain, drawn in rows if plain > 0.0]
    plain, randomised = (float(np.mean(column)) for column in zip(*held, strict=True))
    more = float(np.mean([np.mean(np.array(radii) > 0.0) for _, radii in rows])) * len(rows)
    return (
        f"| {noise} | {n:,} | {name} | {len(held)} of {len(rows)} | {plain:.4f} | {more:.1f} | {randomised:.4f} "
        f"| {100 * (randomised / plain - 1):.1f} % |"
    )


if __name__ == "__main__":
    main()
