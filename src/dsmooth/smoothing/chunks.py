"""Addresses of noise: the noise of a sample is determined by its address, wherever it is drawn."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace
from typing import Final

from dsmooth.errors import BadParameter
from dsmooth.records.digests import canonical_json
from dsmooth.records.keys import commitment_of
from dsmooth.records.question import Question, Role
from dsmooth.theory.bounds import check_seed
from dsmooth.theory.laws.base import EnumeratedLaw
from dsmooth.theory.votes import Phase

__all__ = ["GENERATOR", "LIMITS", "Chunk", "MasterKey", "stream_at"]

GENERATOR: Final = "philox4x64-10 (numpy)"
"""What makes the random words of a stream."""

LIMITS: Final = {"batch": 1 << 16, "workers": 1 << 10}
"""Catches typos before they exhaust memory."""

_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class MasterKey:
    """The noise key: the secret that determines all noise of a run."""

    value: bytes
    source: str
    """"os" for the operating system's randomness, "seed" for a user's number: reproducible, hence not secret."""
    randomness: bytes = b""
    """A beacon's randomness, published after the key was committed to; empty without a witness."""

    def __post_init__(self) -> None:
        if len(self.value) != _KEY_BYTES:
            raise BadParameter(f"expected a key of {_KEY_BYTES} bytes, got {len(self.value)}")

    @classmethod
    def draw(cls, seed: int | None = None) -> MasterKey:
        """A new random key from the operating system, or the key that belongs to this seed."""
        if seed is None:
            return cls(secrets.token_bytes(_KEY_BYTES), "os")
        seed = check_seed(seed)
        return cls(hashlib.blake2b(f"dsmooth seed {seed}".encode(), digest_size=_KEY_BYTES).digest(), "seed")

    @property
    def commitment(self) -> str:
        """SHA-256 of the key: may be published before the key is."""
        return commitment_of(self.value)

    def witnessed(self, randomness: bytes) -> MasterKey:
        """The same key, whose noise follows from this randomness too: unknown when the key was committed to."""
        return replace(self, randomness=randomness)

    @property
    def _of_noise(self) -> bytes:
        """The key of all noise: BLAKE2b(key | randomness) where there is a witness, the key itself where there is none."""
        if not self.randomness:
            return self.value
        mixed = self.value + self.randomness
        return hashlib.blake2b(mixed, digest_size=_KEY_BYTES, person=b"dsmooth.witness").digest()

    def stream(self, question: Question, image: str, phase: Phase) -> bytes:
        """The 16-byte key of one stream of noise; empty under an enumerated law, which draws nothing.

        Another for each image (its digest), phase, and question: all of it but the circumstances.
        """
        if isinstance(question.law, EnumeratedLaw):
            return b""
        asked = question.to_json(Role.SUBJECT, Role.CLAIM)
        address = canonical_json({"question": asked, "image": image, "phase": phase.value})
        return hashlib.blake2b(address.encode(), key=self._of_noise, digest_size=16, person=b"dsmooth.noise.3").digest()

    def streams(self, question: Question, image: str) -> dict[Phase, bytes]:
        """The streams of a question about an image."""
        return {phase: self.stream(question, image, phase) for phase in question.streams}

    def noise(self, question: Question, image: str) -> list[bytes]:
        """The streams among them that noise is drawn from."""
        return [self.stream(question, image, phase) for phase in question.demand]


def stream_at(stream: bytes, centre: str) -> bytes:
    """The stream of noise on a centre (its digest) of a cover, of an image with this estimation stream."""
    return hashlib.blake2b(centre.encode(), key=stream, digest_size=16, person=b"dsmooth.centre").digest()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples first, ..., first + count - 1 of one stream."""

    phase: Phase
    stream: bytes
    first: int
    count: int
