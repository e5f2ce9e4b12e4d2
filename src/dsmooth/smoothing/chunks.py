"""Addresses of noise: the noise of a sample follows from its address, so whoever asks for it gets the same."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dsmooth.errors import BadParameter
from dsmooth.records.digests import canonical_json
from dsmooth.records.keys import commitment_of
from dsmooth.theory.bounds import check_seed
from dsmooth.theory.noises import Gaussian

__all__ = ["LIMITS", "Chunk", "MasterKey", "Phase"]

LIMITS: Final = {"batch": 1 << 16, "workers": 1 << 10}
"""Beyond these a typing error would eat all memory before anything could be said."""

_KEY_BYTES = 32


class Phase(StrEnum):
    """What the votes are for; each phase has its own stream of noise."""

    SELECTION = "selection"
    ESTIMATION = "estimation"
    PREDICTION = "prediction"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class MasterKey:
    """The secret from which all noise of a run follows."""

    value: bytes
    source: str
    """"os" for the operating system's randomness, "seed" for a user's number: reproducible, hence not secret."""

    def __post_init__(self) -> None:
        if len(self.value) != _KEY_BYTES:
            raise BadParameter(f"expected a key of {_KEY_BYTES} bytes, got {len(self.value)}")

    @classmethod
    def draw(cls, seed: int | None = None) -> MasterKey:
        """A fresh key from the operating system, or the key that belongs to this seed."""
        if seed is None:
            return cls(secrets.token_bytes(_KEY_BYTES), "os")
        seed = check_seed(seed)
        return cls(hashlib.blake2b(f"dsmooth seed {seed}".encode(), digest_size=_KEY_BYTES).digest(), "seed")

    @property
    def commitment(self) -> str:
        """SHA-256 of the key: may be published before the key is."""
        return commitment_of(self.value)

    def stream(self, image: str, noise: Gaussian, phase: Phase) -> bytes:
        """The 16-byte key of one stream of noise: another for each image (its digest), law, sigma and phase."""
        address = canonical_json({"image": image, "law": noise.law, "sigma": noise.sigma.hex(), "phase": phase.value})
        return hashlib.blake2b(address.encode(), key=self.value, digest_size=16, person=b"dsmooth.noise").digest()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples first, ..., first + count - 1 of one stream."""

    phase: Phase
    stream: bytes
    first: int
    count: int
