"""A service as a classifier: denoised images are rounded to 8 bits and sent, and the tags that come back are a vote."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dsmooth.backends.base import Backend
from dsmooth.classifiers.base import Classifier, Traits
from dsmooth.errors import BadParameter, BadRun
from dsmooth.records.digests import digest_json
from dsmooth.records.querylog import LOG, Address, QueryLogWriter
from dsmooth.services.catalogue import connect, terms_of
from dsmooth.services.client import Client, Picture
from dsmooth.services.gate import Limits
from dsmooth.services.pictures import preparation
from dsmooth.services.provider import Reply
from dsmooth.services.reach import check_listening
from dsmooth.services.voting import TopLabel, VotingRule
from dsmooth.theory.votes import Label

__all__ = ["RemoteClassifier"]

_PING = 5.0  # seconds
_FIRST = 10  # answers, after which a rule that makes no vote of any seems wrong
_SHOWN = 5  # labels
_ROWS = 32  # that one thread asks at once: enough for their answers to be waited for together


class RemoteClassifier(Classifier):
    """A service by its name (`aws:rekognition`, `http://...`), with credentials from the environment.

    It sends the denoised image as a PNG, clipped, rounded to 8 bits and upscaled to what the service accepts: all of that,
    and the voting rule, are part of the function that is certified. Without limits in `limits`, rate and price are the
    service's own. Without `logged` nothing is written, and paid answers are lost when the program ends. `dry`: only terms
    and prices are needed, and no credentials.
    """

    def __init__(
        self,
        spec: str,
        *,
        rule: VotingRule | None = None,
        limits: Limits | None = None,
        endpoint: str | None = None,
        wire: Any = None,
        dry: bool = False,
    ) -> None:
        self.terms = terms_of(spec)
        chosen = limits or Limits()
        self.limits = replace(
            chosen,
            rate=chosen.rate or (self.terms.rate if endpoint is None else None),
            price=self.terms.price if chosen.price is None else chosen.price,
        )
        if self.limits.max_dollars is not None and self.limits.price is None:
            raise BadParameter(f"the price of {spec} is not known: pass --price (dollars per 1,000 queries)")
        self.provider = connect(
            spec,
            endpoint=endpoint,
            wire=wire,
            concurrency=self.limits.concurrency,
            time_limit=self.limits.time_limit,
            dry=dry,
        )
        self._address = endpoint or (spec if self.provider.by_address else None)
        self.rule: VotingRule = rule or TopLabel()
        self.name = self.provider.name
        self.class_names = self.rule.class_names
        self.traits = Traits(
            billed=True,
            logged=True,
            rows=_ROWS,
            workers=1 + -(-self.limits.concurrency // _ROWS),  # the service is kept busy while one of them denoises
            preparation=preparation(self.terms.least_side),
        )
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._unmatched: Counter[str] | None = Counter()
        """The top labels of the first answers while none of them is a vote; None when that is settled."""

    @property
    def description(self) -> dict[str, Any]:
        return {
            "provider": self.name,
            "wire": self.provider.wire,
            "preparation": self.traits.preparation,
            "voting": self.rule.describe(),
        }

    @property
    def version(self) -> str | None:  # type: ignore[override]  # read only here
        """As in the contract."""
        return None if self._client is None else self._client.version

    @property
    def queries(self) -> int:  # type: ignore[override]  # read only here
        """As in the contract."""
        return 0 if self._client is None else self._client.gate.sent

    @property
    def outcomes(self) -> Mapping[str, int]:  # type: ignore[override]  # read only here
        """As in the contract."""
        return {} if self._client is None else dict(self._client.gate.outcomes)

    @property
    def available(self) -> bool:  # type: ignore[override]  # read only here
        """As in the contract."""
        return self._client is None or self._client.gate.available

    def digest(self) -> str:
        """SHA-256 of the description. The model behind the service is not in it: its version is in each record."""
        return digest_json(self.description)

    def answers(self, backend: Backend) -> Callable[..., Sequence[Label | None]]:
        return self._ask

    def _ask(self, images: Tensor, usable: Sequence[bool], addresses: Sequence[Address] | None) -> list[Label | None]:
        finite = torch.isfinite(images.sum(dim=(1, 2, 3), dtype=torch.float32)).tolist()
        pixels = (images.to("cpu", torch.float32) * 255.0).round().clamp(0.0, 255.0).to(torch.uint8)
        pictures: list[Picture] = list(pixels.permute(0, 2, 3, 1).contiguous().numpy())
        ats: Sequence[Address | None] = [None] * len(pictures) if addresses is None else addresses
        with self._lock:
            if self._client is None:
                self._client = Client(self.provider, self.terms, self.limits)
            client = self._client
        replies = client.ask(
            [
                (at, picture if good and number else None)
                for at, picture, good, number in zip(ats, pictures, usable, finite, strict=True)
            ]
        )
        votes = [None if reply is None else self.rule.vote(reply) for reply in replies]
        self._watch(replies, votes)
        return votes

    def _watch(self, replies: Sequence[Reply | None], votes: Sequence[Label | None]) -> None:
        """Warns once where the rule makes a vote of none of the first answers, though there are some."""
        with self._lock:
            if self._unmatched is None or any(vote is not None for vote in votes):
                self._unmatched = None
                return
            self._unmatched.update(str(reply.tags[0][0]) for reply in replies if reply is not None and reply.tags)
            if self._unmatched.total() < _FIRST:
                return
            common = [label for label, _ in self._unmatched.most_common(_SHOWN)]
            self._unmatched = None
        warnings.warn(
            f"none of the first answers of {self.name} is a vote: its labels are {', '.join(common)}; "
            "are they in the label map?",
            stacklevel=2,
        )

    def ping(self) -> None:
        if self._address is not None:
            proxied = not self.provider.by_address
            check_listening(self._address, seconds=min(self.limits.time_limit, _PING), proxied=proxied)

    @contextmanager
    def logged(
        self, folder: Path, *, key_commitment: str, parameters: str, canaries: Sequence[Picture]
    ) -> Iterator[Client]:
        """Inside, every query and answer is written to `folder`, and what is in there already is not asked again.

        At the end the canaries have been asked once more. Raises BadRun where the log was made for something else.
        """
        header = {"classifier": self.description, "key_commitment": key_commitment, "parameters": parameters}
        log = QueryLogWriter(folder / LOG, header)
        try:
            if log.held.drifted:
                raise BadRun(f"{folder}: the service's model changed during this run: start a new run")
            client = self._client = Client(self.provider, self.terms, self.limits, log=log, canaries=canaries)
            yield client
            client.finish()
        finally:
            self.interrupt()
            log.close()

    def begin(self) -> None:
        """As in the contract; what was spent without a log stays spent."""
        with self._lock:
            if self._client is not None and self._client.gate.closed:
                spent = self._client.gate.sent if self._client.log is None else 0
                self._client = Client(self.provider, self.terms, self.limits)
                self._client.gate.sent = spent

    def interrupt(self) -> None:
        """As in the contract; answers that are under way are waited for, for a few seconds."""
        with self._lock:
            client = self._client
        if client is not None:
            client.close("interrupted")

    def close(self) -> None:
        """Nothing is sent any more; connections are let go of."""
        self.interrupt()
        self.provider.close()
