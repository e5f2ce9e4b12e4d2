"""For tests of engines that run in other processes: who they are, and networks that can be made to lie there."""

import os
import time
from contextlib import suppress
from pathlib import Path

from support import Linear

__all__ = ["OnlyHere", "Watched", "alive", "descendants", "holds", "listening", "workers_of"]


_PIECE, _OVERLAP = 16 << 20, 256  # bytes of memory that are looked through at a time; no secret is longer


class Watched(Linear):
    """Linear, in every process but those that lie: their answers are the other way round.

    In `folder`: `slow` makes every batch take a hundredth of a second, or so many seconds as it says; `liars` names
    processes, and the first process to take `bait` away, other than the one that made this, is added to them.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder, self.maker = str(folder), os.getpid()

    def forward(self, x):
        folder = Path(self.folder)
        if os.getpid() != self.maker:
            with suppress(FileNotFoundError):
                (folder / "bait").rename(folder / f"taken-by-{os.getpid()}")
                with (folder / "liars").open("a") as file:
                    file.write(f"{os.getpid()}\n")
        with suppress(FileNotFoundError):
            time.sleep(float((folder / "slow").read_text() or 0.01))
        lies = (folder / "liars").exists() and str(os.getpid()) in (folder / "liars").read_text().split()
        logits = super().forward(x)
        return -logits if lies else logits


class OnlyHere(Linear):
    """Linear, which no other process can load."""

    def __init__(self):
        super().__init__()
        self.maker = os.getpid()

    def __setstate__(self, state):
        if os.getpid() != state["maker"]:
            raise FileNotFoundError("no licence on this machine")
        super().__setstate__(state)


def descendants(pid):
    """The processes that a process started, and those that they started, by id."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found, more = set(), {pid}
    while more:
        found |= more
        more = {child for child, parent in parents.items() if parent in more} - found
    return found - {pid}


def workers_of(pid):
    """The processes of a Ray cluster, started by this one, that run networks."""
    found = []
    for child in sorted(descendants(pid)):
        with suppress(OSError):
            if (Path("/proc") / str(child) / "cmdline").read_bytes().startswith(b"ray::RemoteWorker"):
                found.append(child)
    return found


def listening(pids):
    """The addresses, as Linux writes them, on which these processes listen."""
    sockets = set()
    for pid in pids:
        with suppress(OSError):
            sockets |= {str(link.readlink()) for link in (Path("/proc") / str(pid) / "fd").iterdir()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in (Path("/proc/net") / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].partition(":")[0])
    return found


def alive(pids):
    """Those of these processes that have not ended."""
    left = set()
    for pid in pids:
        with suppress(OSError):
            if (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                left.add(pid)
    return left


def holds(pid, secrets):
    """Which of these bytes are in the memory of a process."""
    found = set()
    with (Path("/proc") / str(pid) / "mem").open("rb", buffering=0) as memory:
        for line in (Path("/proc") / str(pid) / "maps").read_text().splitlines():
            span, rights = line.split()[:2]
            first, last = (int(number, 16) for number in span.split("-"))
            if rights.startswith("rw") and last < 1 << 63:
                before = b""
                for place in range(first, last, _PIECE):
                    with suppress(OSError, OverflowError):
                        memory.seek(place)
                        part = before + memory.read(min(_PIECE, last - place))
                        found |= {secret for secret in secrets if secret in part}
                        before = part[-_OVERLAP:]
    return found
