import numpy as np
import pytest

SLOW = """
import time
from support import Linear

class Slow(Linear):
    def forward(self, x):
        time.sleep(0.02)
        return super().forward(x)
"""


@pytest.fixture
def images(tmp_path):
    """Twelve images with labels, and beside them slow.py: a classifier that can be interrupted."""
    pixels = np.random.default_rng(0).integers(96, 160, (12, 3, 5, 3)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=pixels, labels=np.arange(12) % 2)
    (tmp_path / "slow.py").write_text(SLOW)
    return tmp_path / "images.npz"
