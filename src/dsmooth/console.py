"""What the terminal shows: progress with an ETA, one line per result, errors in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from dsmooth.interruption import end_if_asked

if TYPE_CHECKING:  # help must come quickly: what is heavy is imported where it is used
    from dsmooth.theory.certifiers import Certificate
    from dsmooth.theory.prediction import Prediction
    from dsmooth.theory.votes import Label
    from dsmooth.training.loop import Report
    from dsmooth.training.plan import TrainingPlan

__all__ = [
    "Bar",
    "certificate_line",
    "complain",
    "duration",
    "named",
    "note",
    "plain",
    "prediction_line",
    "say",
    "training_bar",
]


_WARM = 5.0  # seconds of a training, after which its speed is known
_LEAST_BAR, _ROOMY = 4, 80  # columns: of the bar itself; from where on nothing has to be left out


def plain(text: object) -> str:
    """Text without control characters: names come from files and services."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def say(*lines: str) -> None:
    """Lines of output, to standard output; after a broken pipe the work continues silently."""
    try:
        for line in lines:
            print(plain(line))
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (it lasts as long as the program)


def note(text: str) -> None:
    """A line about the work, to standard error."""
    print(plain(text), file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """An error in one line, to standard error."""
    note(f"dsmooth: {' '.join(str(text).split())}")


class Bar:
    """A live progress bar with an ETA on standard error; results can be printed above it while it runs."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column

        def whole() -> Column:
            return Column(no_wrap=True)  # a bar of two lines would leave one behind at each refresh

        self._console = Console(stderr=True)
        roomy = self._console.width >= _ROOMY
        self._progress = Progress(
            TextColumn("{task.description}", table_column=whole()),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=_LEAST_BAR)),
            MofNCompleteColumn(table_column=whole()),
            *([TextColumn(unit, table_column=whole())] if roomy else []),
            TextColumn("{task.fields[detail]}", table_column=whole()),
            *([TimeElapsedColumn(table_column=whole())] if roomy else []),
            TextColumn("left", table_column=whole()),
            TimeRemainingColumn(table_column=whole()),
            console=self._console,
            expand=True,
        )
        self._task = self._progress.add_task(what, total=total, detail="")

    def to(self, done: int, detail: str | None = None, *, of: int | None = None) -> None:
        """Sets the progress to `done`; `detail` replaces the text beside the count, `of` the total."""
        end_if_asked()
        told: dict[str, Any] = {} if detail is None else {"detail": plain(detail)}
        self._progress.update(self._task, completed=done, total=of, **told)

    def say(self, line: str) -> None:
        """A line of output above the bar, to standard output."""
        with self._paused():
            say(line)

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """On a terminal the bar and standard output share the screen: take the bar away while a line is printed."""
        if not self._console.is_terminal:
            yield
            return
        live = self._progress.live
        live.transient = True  # what `stop` leaves on the screen would stand above the line
        self._progress.stop()
        try:
            yield
        finally:
            live.transient = False
            self._progress.start()

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def duration(seconds: float) -> str:
    """A duration in readable units: s, min or h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@contextmanager
def training_bar(plan: TrainingPlan) -> Iterator[Callable[[Report], None]]:
    """What to report a training to: a bar over its steps (or minutes), a line per evaluation, and an early time estimate."""
    total, unit = (plan.steps, "steps") if plan.minutes is None else (round(60 * plan.minutes), "seconds")
    with Bar("train", total, unit) as bar:
        expected = plan.minutes is not None

        def show(report: Report) -> None:
            nonlocal expected
            if not expected and report.seconds > _WARM:
                expected = True
                note(f"{plan.steps:,} steps will take about {duration(report.seconds / report.progress)} here")
            bar.to(round(report.progress * total), f"loss {report.loss:.5f}")
            if report.scores is not None:
                bar.say(f"step {report.step}: loss {report.loss:.5f}; held out: {_scores_line(report.scores)}")

        yield show


def _scores_line(scores: Mapping[str, Any]) -> str:
    """By sigma: PSNR, and the accuracy of each classifier."""
    parts: dict[str, list[str]] = {}
    for sigma, quality in scores.get("psnr", {}).items():
        parts.setdefault(sigma, []).append(f"{quality:.2f} dB")
    for name, shares in scores.get("accuracy", {}).items():
        for sigma, share in shares.items():
            parts.setdefault(sigma, []).append(f"{name} {100 * share:.1f} %")
    return "; ".join(f"sigma {sigma}: {', '.join(words)}" for sigma, words in parts.items()) or "nothing"


def named(label: Label | None, names: Sequence[str] | None) -> str:
    """A label as text: its name where there is one."""
    if label is None:
        return "abstain"
    if isinstance(label, int) and names is not None and 0 <= label < len(names):
        return names[label]
    return str(label)


def certificate_line(name: str, certificate: Certificate, names: Sequence[str] | None, label: int | None) -> str:
    """name, certified answer, radius, votes, and whether the answer is right, in columns."""
    from dsmooth.theory.bounds import round_down

    votes = certificate.estimation
    top = certificate.answer
    ranked = votes.ranked() or certificate.selection.ranked()  # no estimation votes: hopeless from the selection on
    leading = ranked[0][0] if top is None and ranked else top
    count = 0 if leading is None else votes.of(leading)
    right = "" if label is None else ("  right" if label == top else f"  (label: {named(label, names)})")
    radius = "-" if top is None else f"l{certificate.norm:g} radius {round_down(certificate.radius)}"
    light = "".join(f"  {what} {extent}" for what, extent in certificate.allowed.items()) if top is not None else ""
    against = f"  {certificate.against}" if top is not None and certificate.against else ""
    answer = named(top, names) if top is not None else f"abstain ({named(leading, names)}?)"
    if top is not None and certificate.top > 1:
        answer = f"{answer:.14} in top {certificate.top}"
    return f"{name:<28.28}  {answer:<24.24}  {radius:<18}{light}{against}  {count:>6} of {votes.trials} votes{right}"


def prediction_line(name: str, prediction: Prediction, names: Sequence[str] | None, label: int | None) -> str:
    """name, answer, p-value, votes, in columns."""
    ranked = prediction.votes.ranked()
    count = ranked[0][1] if ranked else 0
    answer = named(prediction.answer, names)
    if prediction.answer is None and ranked:
        answer = f"abstain ({named(ranked[0][0], names)}?)"
    right = "" if label is None else ("  right" if label == prediction.answer else f"  (label: {named(label, names)})")
    votes = f"{count:>6} of {prediction.votes.trials} votes"
    return f"{name:<28.28}  {answer:<24.24}  p-value {prediction.p_value:<8.2g}  {votes}{right}"
