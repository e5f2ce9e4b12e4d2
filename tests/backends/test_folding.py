"""Batch normalisation that is folded away leaves the function as it was."""

import threading

import pytest
import torch
from torch import nn

from dsmooth.backends.base import difference
from dsmooth.backends.eager import Eager
from dsmooth.backends.folding import fold_batchnorm, folded_if_same
from dsmooth.backends.torchvision_ops import import_torchvision
from dsmooth.classifiers.cifar_resnet import CifarResNet


def lived(module):
    """The module in eval mode with statistics and weights that are not those of its birth."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2.0)
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.normal_(0, 0.3)
    return module.eval()


def norms(module):
    return sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


def called_norms(traced):
    return sum(
        isinstance(traced.get_submodule(str(node.target)), nn.modules.batchnorm._BatchNorm)
        for node in traced.graph.nodes
        if node.op == "call_module"
    )


def timm_model(name):
    import_torchvision()
    import timm

    return timm.create_model(name, pretrained=False)


@pytest.mark.parametrize(
    ("make", "side"),
    [
        (lambda: CifarResNet(20), 32),
        (lambda: timm_model("resnet10t"), 64),
        (lambda: timm_model("tf_efficientnet_lite0"), 64),
    ],
    ids=["cifar resnet", "timm resnet", "timm efficientnet with its own norms and paddings"],
)
def test_trained_networks_are_folded_whole_and_answer_the_same(make, side):
    network = lived(make())
    folded = fold_batchnorm(network)
    assert folded is not None
    assert called_norms(folded) == 0
    x = torch.rand(3, 3, side, side)
    with torch.inference_mode():
        assert difference(folded(x), network(x)) < 1e-4
        assert difference(folded(x[:1]), network(x[:1])) < 1e-4
    assert norms(network) > 0


class Shared(nn.Module):
    """What the convolution answers is used twice: beside the norm, and by it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return (self.norm(y) + y).mean(dim=(2, 3))


class Twice(nn.Module):
    """One convolution, called twice, followed by a norm once."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.conv(self.norm(self.conv(x))).mean(dim=(2, 3))


class Decides(nn.Module):
    """Looks at its pixels to choose a way."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.norm(self.conv(x)).mean(dim=(2, 3))
        return y if x.mean() > 0.5 else -y


class Sometimes(nn.Module):
    """Uses a convolution without its norm, but only in the dark."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential()
        self.inner.conv, self.inner.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        return (self.inner(x) if x.mean() > 0.3 else self.inner.conv(x)).mean(dim=(2, 3))


@pytest.mark.parametrize("make", [Shared, Twice, Decides, Sometimes, lambda: nn.Conv2d(3, 3, 3)])
def test_what_cannot_be_folded_is_left_alone(make):
    assert fold_batchnorm(lived(make())) is None


class Checked(nn.Module):
    """Looks at its pixels before it hands them on."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

    def forward(self, x):
        if not bool(x.isfinite().all()):
            raise ValueError("not finite")
        return self.inner(x).mean(dim=(2, 3))


def test_the_parts_of_an_untraceable_network_are_folded_on_demand():
    network = lived(Checked())
    x = torch.rand(2, 3, 8, 8)
    with torch.inference_mode():
        assert folded_if_same(network, x) is network
        folded = folded_if_same(network, x, parts=True)
        assert difference(folded(x), network(x)) < 1e-5
        with pytest.raises(ValueError, match="not finite"):
            folded(x * torch.nan)
    assert called_norms(folded.inner) == 0


class Peeks(Checked):
    """Looks into its part."""

    def forward(self, x):
        return super().forward(x) * self.inner[1].weight.mean()


class Standardised(nn.Conv2d):
    """A convolution that does not use its weights as they are."""

    def forward(self, x):
        w = self.weight
        w = (w - w.mean(dim=(1, 2, 3), keepdim=True)) / w.std(dim=(1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, w, self.bias)


@pytest.mark.parametrize(
    "make",
    [
        Shared,
        Twice,
        Decides,
        Checked,
        Peeks,
        Sometimes,
        lambda: nn.Sequential(Standardised(3, 4, 3), nn.BatchNorm2d(4)),
    ],
)
def test_the_backend_computes_the_function_whatever_folding_makes_of_it(make):
    network = lived(make())
    run = Eager("fp32", 1).ready(network)
    with torch.inference_mode():
        for x in (torch.rand(5, 3, 8, 8), torch.rand(5, 3, 8, 8) / 4):
            assert difference(run(x), network(x)) < 1e-5


def test_networks_run_in_other_threads_while_one_is_folded():
    """fx patches torch's Module for the whole process while it traces: nobody else may be a part of what is traced."""
    x, wrong = torch.rand(1, 3, 16, 16), []
    networks, original = [lived(CifarResNet(20)) for _ in range(3)], nn.Module.__call__
    started, folding = threading.Barrier(len(networks) + 1), threading.Event()
    folding.set()

    def run(network):
        expected = network(x)
        started.wait()
        while folding.is_set():
            try:
                assert torch.equal(network(x), expected)
                if network is networks[0]:
                    assert fold_batchnorm(network) is not None
            except Exception as error:
                wrong.append(error)
                return

    threads = [threading.Thread(target=torch.inference_mode()(run), args=(network,)) for network in networks]
    for thread in threads:
        thread.start()
    started.wait()
    folds = [fold_batchnorm(lived(CifarResNet(20))) for _ in range(5)]
    folding.clear()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert None not in folds
    assert nn.Module.__call__ is original
