"""What is installed, what works, and how fast it is on this machine."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import subprocess
import sys
from collections.abc import Iterator

import dsmooth
from dsmooth.console import say
from dsmooth.errors import BadParameter

__all__ = ["doctor"]

_NOT_FOR_USERS = ("dev", "docs")


def doctor(*, seconds: float = 10.0) -> None:
    """Show what is installed, which extras and backends work, and how fast the backends run on this machine.

    Example:

        dsmooth doctor

    Parameters
    ----------
    seconds: float
        How long to measure, from 0 (not at all) to 3600.
    """
    if not 0.0 <= seconds <= 3600.0:
        raise BadParameter(f"seconds must be from 0 to 3600, got {seconds}")
    from dsmooth.backends.eager import cores

    say(
        f"dsmooth {dsmooth.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{cores()} cores",
        *_torch(),
        "",
        "extras: pip install 'dsmooth[NAME]'",
        *_extras(),
    )
    if seconds:
        say("", *_backends(seconds))


def _torch() -> Iterator[str]:
    """torch, and torchvision beside it."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no usable GPU"
    yield f"torch {torch.__version__}: {gpu}"
    if (version := _version("torchvision")) is None:
        return
    tried = [sys.executable, "-c", "import torchvision"]
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        yield f"torchvision {version}: works with this torch"
        return
    why = (done.stderr.strip().splitlines() or ["no message"])[-1]
    yield f"torchvision {version}: cannot be imported with this torch ({why})"
    if "torchvision::nms" in why:
        yield "  dsmooth works anyway: it declares what is missing. Programs that import torchvision first do not."
    yield "  To fix it, install both from the same index: pip install --force-reinstall torch torchvision --index-url"
    yield "  https://download.pytorch.org/whl/cpu (or .../whl/cu128 for CUDA)"


def _extras() -> Iterator[str]:
    """Each extra, with the packages that it lacks."""
    needed: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("dsmooth") or []:
        package, extra = re.match(r"[\w.-]+", line), re.search(r"""extra == ['"]([\w-]+)""", line)
        if package and extra and package[0] != "dsmooth" and extra[1] not in _NOT_FOR_USERS:
            needed.setdefault(extra[1], []).append(package[0])
    width = max(map(len, needed), default=0)
    for title, names in sorted(needed.items()):
        lacking = [name for name in names if _version(name) is None]
        there = ", ".join(f"{name} {_version(name)}" for name in names)
        yield f"  {title:<{width}}  {'missing: ' + ', '.join(lacking) if lacking else there}"


def _backends(seconds: float) -> Iterator[str]:
    """The backends that work, the fastest of them marked; why the others do not."""
    from dsmooth.backends.measuring import rates

    yield "backends: GFLOP/s on one thread (8 convolutions of 64 channels at 32 x 32)"
    found = list(rates(seconds))
    best = max((rate.gigaflops for rate in found if rate.gigaflops is not None), default=0.0)
    for rate in found:
        name = f"  {rate.backend:<8}  {rate.dtype}"
        if rate.gigaflops is None:
            yield f"{name}  {rate.why}"
        else:
            mark = f"  fastest here: --backend {rate.backend} --dtype {rate.dtype}" if rate.gigaflops == best else ""
            yield f"{name}  {rate.gigaflops:>7.0f}{mark}"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
