"""Make a key to sign certificates."""

from __future__ import annotations

from pathlib import Path

from dsmooth.console import say

__all__ = ["keygen"]


def keygen(key: Path, /) -> None:
    """Make an Ed25519 key pair: KEY for `dsmooth serve --signing-key`, KEY.pub for anyone who checks certificates.

    Examples:

        dsmooth keygen gateway.pem

        dsmooth verify certificate.json --public-key gateway.pem.pub

    Parameters
    ----------
    key: Path
        File for the private key, readable only by its owner; the public key goes to KEY.pub beside it.
    """
    from dsmooth.records.envelope import generate

    public, name = generate(key)
    say(f"{name}: private key in {key}, public key in {public}")
