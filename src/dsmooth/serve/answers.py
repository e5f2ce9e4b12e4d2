"""The answer to a client: a certificate or a prediction, with the fields that all faces share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from dsmooth.records.question import Question
from dsmooth.records.schema import radius_text
from dsmooth.theory.bounds import round_down
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.prediction import Prediction
from dsmooth.theory.votes import Label, Votes

__all__ = ["Answer", "header_text"]

_READABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_MOST_LETTERS = 1000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one image."""

    question: Question
    promise: Certificate | Prediction
    name: str | None
    """The name of the answer; None: abstains."""
    image: str
    """Digest of the image, after decoding and cropping."""
    commitment: str
    """SHA-256 of the noise key."""
    id: str | None = None
    """Of the certificate, where there is one: a prediction has none."""
    document: bytes = b""
    """The certificate file."""
    cached: bool = False
    """Whether it is the answer to an earlier request."""
    late: bool = False
    """Whether it is a prediction that abstains because the deadline came before its votes."""

    @property
    def answer(self) -> Label | None:
        return self.promise.answer

    @property
    def certificate(self) -> Certificate | None:
        """The certificate; None for a prediction, which has no radius."""
        return self.promise if isinstance(self.promise, Certificate) else None

    @property
    def votes(self) -> Votes:
        """The votes that the answer rests on."""
        return self.promise.estimation if isinstance(self.promise, Certificate) else self.promise.votes

    @property
    def radius(self) -> str:
        """The certified radius as a decimal string, rounded down; "0" for an abstention and for a prediction."""
        return "0" if self.certificate is None or self.answer is None else radius_text(self.certificate.radius)

    @property
    def least_probability(self) -> str:
        """A lower bound on the probability of the answer under the noise, rounded down, by the rule of the certificate.

        "0" for an abstention and for a prediction, which bounds nothing. It may lie below 1/2.
        """
        if self.certificate is None or self.answer is None:
            return "0"
        return round_down(max(0.0, 1.0 - self.certificate.tail))

    @property
    def headers(self) -> dict[str, str]:
        """The Dsmooth- headers of a response about this one image."""
        question, votes = self.question, self.votes
        count = 0 if self.answer is None else votes.of(self.answer)
        headers = {
            "Dsmooth-Abstained": _yes(self.answer is None),
            "Dsmooth-Noise": str(question.law),
            "Dsmooth-Sigma": f"{question.law.level:g}",
            "Dsmooth-Alpha": f"{question.alpha:g}",
            "Dsmooth-Votes": f"{count}/{votes.trials}",
            "Dsmooth-Commitment": self.commitment,
        }
        if self.name is not None:
            headers["Dsmooth-Label"] = header_text(self.name)
        if self.late:
            headers["Dsmooth-Late"] = _yes(self.late)
        if self.certificate is not None and self.id is not None:
            headers["Dsmooth-Radius"] = self.radius
            headers["Dsmooth-Norm"] = f"{question.norm:g}"
            headers["Dsmooth-Certificate"] = self.id
            headers["Dsmooth-Cached"] = _yes(self.cached)
        return headers

    def value(self) -> dict[str, Any]:
        """The same as JSON; numbers that are not whole are decimal strings, as in certificate files."""
        question, votes = self.question, self.votes
        told: dict[str, Any] = {
            "answer": self.answer,
            "name": self.name,
            "abstained": self.answer is None,
            "noise": question.law.to_json()["name"],
            "sigma": f"{question.law.level:g}",
            "alpha": f"{question.alpha:g}",
            "votes": {
                "answer": 0 if self.answer is None else votes.of(self.answer),
                "missing": votes.missing,
                "trials": votes.trials,
            },
            "image": self.image,
            "commitment": self.commitment,
        }
        if self.certificate is not None:
            told.update(
                radius=self.radius,
                norm=f"{question.norm:g}",
                least_probability=self.least_probability,
                rule=question.rule,
                certificate=self.id,
                cached=self.cached,
            )
        else:
            told["late"] = self.late
        return told


def header_text(text: str) -> str:
    """A stranger's text as a header can carry it: printable ASCII as it is, all else as its UTF-8 in %XX; cut off."""
    quoted = quote(text, safe=_READABLE)[:_MOST_LETTERS]
    inner = quoted.strip(" ")
    at = quoted.find(inner) if inner else len(quoted)  # blanks at the ends are none of a header's value
    return "%20" * at + inner + "%20" * (len(quoted) - at - len(inner))


def _yes(fact: bool) -> str:
    return "true" if fact else "false"
