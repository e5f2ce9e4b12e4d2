"""What querying a service costs: reported and confirmed before the first query, and reported again at the end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dsmooth.console import duration, note, say
from dsmooth.errors import BadParameter

if TYPE_CHECKING:
    from dsmooth.classifiers.base import Classifier
    from dsmooth.cli.options import ServiceOfRun

__all__ = ["agreed", "spent"]

_LATENCY = 0.5  # seconds that a vision service usually takes, for the estimate


def agreed(classifier: Classifier, service: ServiceOfRun, images: int, each: int, out: Path | None = None) -> bool:
    """Reports the cost of `images` with `each` samples (less those already in the log of `out`); whether to go on.

    A run that may spend more than `ask_above`, within its budget, needs confirmation; raises BadParameter where stdin is
    no terminal. Sends nothing.
    """
    from dsmooth.services.client import canary_queries

    answered, sent = _so_far(out)
    queries = max(0, images * each - answered)
    canaries = canary_queries(queries, images) if out is not None else 0
    total, limits = queries + canaries, classifier.limits
    dollars = limits.dollars(total)
    seconds = total / min(limits.rate or float("inf"), limits.concurrency / _LATENCY)
    price = "price unknown (--price)" if dollars is None else f"${dollars:,.2f} at ${limits.price:g} per 1,000"
    if dollars is not None and service.price is None:
        from dsmooth.services.catalogue import terms_of

        price += f", the list price of {terms_of(classifier.name).checked}"
    note(
        f"{classifier.name}: {queries:,} queries and {canaries} for canaries, {price}; "
        f"at least {duration(seconds)} at this rate, plus the denoiser's time"
    )
    if limits.budget is not None and limits.budget < sent + total:
        note(f"the budget runs out after {limits.budget:,} queries: the run will be partial, and resumable")
    if service.dry_run:
        say("dry run: nothing was sent, nothing was written")
        return False
    if limits.budget is not None:
        dollars = limits.dollars(min(total, max(0, limits.budget - sent)))
    if dollars is None or dollars <= service.ask_above or service.yes:
        return True
    if not sys.stdin.isatty():
        raise BadParameter(f"this would cost ${dollars:,.2f}: pass --yes, or raise --ask-above")
    if input("continue? [y/N] ").strip().lower() in ("y", "yes"):
        return True
    say("nothing was sent, nothing was written")
    return False


def spent(classifier: Classifier, out: Path) -> str:
    """What the whole run has sent, according to its log."""
    from dsmooth.records.querylog import LOG, read_query_log

    tries = read_query_log(out / LOG).tries
    dollars = classifier.limits.dollars(tries)
    return f"{tries:,} queries sent{'' if dollars is None else f', ${dollars:,.2f} at list price'}: {out / LOG}"


def _so_far(out: Path | None) -> tuple[int, int]:
    """Samples that the log of `out` answers, and queries that were sent for them."""
    from dsmooth.records.querylog import LOG, read_query_log

    if out is None or not (out / LOG).exists():
        return 0, 0
    log = read_query_log(out / LOG)
    return len(log.entries), log.tries
