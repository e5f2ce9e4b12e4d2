"""Memory that one layer frees serves the next one."""

import os
import subprocess
import sys

import pytest

from dsmooth.backends.allocator import keep_freed_memory

COUNT_FAULTS = """
import resource
import torch
from dsmooth.backends.eager import Eager
from dsmooth.classifiers.cifar_resnet import CifarResNet

torch.set_num_threads(1)
run = Eager("fp32", workers=1).ready(CifarResNet(20))
x = torch.rand(64, 3, 32, 32)
with torch.inference_mode():
    for _ in range(3):
        run(x)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        run(x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**chosen: str) -> int:
    """Pages that the system had to hand out for five batches."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS], env={**environment, **chosen}, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="about glibc")
def test_batches_take_no_new_pages_unless_the_user_chose_otherwise():
    kept = faults()
    returned = faults(MALLOC_MMAP_THRESHOLD_=str(128 << 10), MALLOC_TRIM_THRESHOLD_=str(128 << 10))
    assert kept < 0.1 * returned


def test_the_user_s_own_choice_stays(monkeypatch):
    keep_freed_memory.cache_clear()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not keep_freed_memory()
    keep_freed_memory.cache_clear()
