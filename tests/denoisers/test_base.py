import importlib
import sys

import pytest
import torch

from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.names import ARCHITECTURES, UNTRAINED
from dsmooth.errors import BadModel


class Answering(Denoiser):
    """A denoiser of one's own, whose answer is whatever a test wants."""

    architecture = "own"

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    @property
    def config(self):
        return {}

    def forward(self, x, sigma):
        return self.answer(x)


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (lambda x: x[..., 1:], "torch.float32 (2, 3, 8, 7)"),
        (lambda x: x[:1], "torch.float32 (1, 3, 8, 8)"),
        (lambda x: (255 * x).to(torch.uint8), "torch.uint8 (2, 3, 8, 8)"),
        (lambda x: x.numpy(), "ndarray"),
        (lambda x: None, "NoneType"),
    ],
)
def test_what_a_denoiser_answers_is_checked_once(answer, got):
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(Answering(lambda x: x).denoise(x, 0.25), x)
    with pytest.raises(BadModel, match="own turned") as refused:
        Answering(answer).denoise(x, 0.25)
    assert got in str(refused.value)


@pytest.mark.parametrize("registry", [ARCHITECTURES, UNTRAINED], ids=lambda registry: registry.kind)
def test_classes_are_found_under_their_own_name(registry):
    assert {name: registry.load(name).architecture for name in registry} == {name: name for name in registry}


@pytest.fixture
def nothing_imported():
    """This package as in a new process; what others have imported of it is theirs again afterwards."""

    def taken():
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "dsmooth"}

    before = taken()
    yield
    taken()
    sys.modules.update(before)


@pytest.mark.parametrize("first", ["base", "loading", "saving", "unet", "weights"])
def test_any_file_of_the_room_can_be_imported_first(nothing_imported, first):
    importlib.import_module(f"dsmooth.denoisers.{first}")
    anew = importlib.import_module("dsmooth").Denoiser
    assert anew is not Denoiser
    assert anew.from_pretrained("photo").data
