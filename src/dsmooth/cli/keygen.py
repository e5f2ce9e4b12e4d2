"""Make a key that signs certificates."""

from __future__ import annotations

from pathlib import Path

from dsmooth.console import say

__all__ = ["keygen"]


def keygen(key: Path, /) -> None:
    """Make an Ed25519 key: KEY for `dsmooth serve --signing-key`, KEY.pub for everybody who checks certificates.

    For example:

        dsmooth keygen gateway.pem

        dsmooth verify certificate.json --public-key gateway.pem.pub

    Parameters
    ----------
    key: Path
        The file to write, readable by its owner alone; its public half goes beside it.
    """
    from dsmooth.records.envelope import generate

    public, name = generate(key)
    say(f"{name}: the key is in {key}, its public half in {public}")
