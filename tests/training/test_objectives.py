import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dsmooth.errors import BadParameter
from dsmooth.training.losses import adversarial_noise, cut_gradients, loss, mean_squared_error
from dsmooth.training.objectives import Objective


@pytest.mark.parametrize(
    ("text", "objective"),
    [
        ("mse", Objective(mse=1.0)),
        ("stab", Objective(stability=1.0)),
        ("classification", Objective(classification=1.0)),
        ("clf + 30 mse", Objective(classification=1.0, mse=30.0)),
        ("clf + 5 cons", Objective(classification=1.0, consistency=5.0)),
        ("head + 5 headcons", Objective(head=1.0, head_consistency=5.0)),
        ("sel + mse", Objective(selective=1.0, mse=1.0)),
        ("adv + head", Objective(adversarial=1.0, head=1.0)),
        ("clf + head + 2.5 mse", Objective(classification=1.0, head=1.0, mse=2.5)),
        ("0.5*stab+1e-2mse + CLF", Objective(stability=0.5, mse=0.01, classification=1.0)),
    ],
)
def test_a_text_is_a_weighted_sum(text, objective):
    assert Objective.parse(text) == objective


@pytest.mark.parametrize(
    "text",
    [
        *("", "mae", "mse+", "mse + 2 mse", "0 mse", "-1 mse", "1.2.3 mse", "30", "mse 30", "clf - mse", "nan mse"),
        *("cons", "cons + head", "headcons"),
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(BadParameter, match=r"expected|add stab or clf|add head"):
        Objective.parse(text)


@pytest.mark.parametrize("text", ["clf + adv", "clf + sel", "adv + sel"])
def test_clf_adv_and_sel_exclude_each_other(text):
    with pytest.raises(BadParameter, match="name one of them"):
        Objective.parse(text)


def test_adv_and_sel_stand_in_the_place_of_clf():
    assert Objective.parse("sel + head + mse").without_classifier == Objective(head=1.0, mse=1.0)
    assert Objective.parse("sel").needs_labels
    assert Objective.parse("adv + head + mse").without_classifier == Objective(head=1.0, mse=1.0)
    assert Objective.parse("adv").needs_labels


@pytest.fixture
def batch():
    torch.manual_seed(0)
    clean = torch.rand(6, 3, 4, 4)
    denoised = (clean + 0.1 * torch.randn_like(clean)).requires_grad_()
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 5)).requires_grad_(False)
    return denoised, clean, torch.linspace(0.1, 0.6, 6), network, torch.tensor([0, 1, 2, 3, 4, 0])


def loss_of(objective, denoised, clean, sigma, network, labels, **more):
    return loss(objective, denoised, clean, sigma, network=network, labels=labels, **more)


def test_each_objective_is_its_formula(batch):
    denoised, clean, sigma, network, labels = batch
    squares = [float((d - c).square().mean() / s) for d, c, s in zip(denoised.detach(), clean, sigma, strict=True)]
    assert float(mean_squared_error(denoised, clean, sigma).detach()) == pytest.approx(sum(squares) / 6, rel=1e-6)
    taught = torch.rand_like(clean)
    squares = [float((d - t).square().mean() / s) for d, t, s in zip(denoised.detach(), taught, sigma, strict=True)]
    found = loss(Objective(mse=2.0), denoised, clean, sigma, taught=taught)
    assert float(found.detach()) == pytest.approx(2 * sum(squares) / 6, rel=1e-6)
    log_p = network(denoised.detach()).log_softmax(1)
    for objective, answers in (
        (Objective(classification=1.0), labels),
        (Objective(stability=1.0), network(clean).argmax(1)),
    ):
        expected = -sum(float(log_p[i, k]) for i, k in enumerate(answers.tolist())) / 6
        assert float(loss_of(objective, *batch).detach()) == pytest.approx(expected, rel=1e-5)
    parts = [Objective(mse=3.0), Objective(stability=0.5), Objective(classification=2.0)]
    whole = Objective(mse=3.0, stability=0.5, classification=2.0)
    assert float(loss_of(whole, *batch).detach()) == pytest.approx(
        sum(float(loss_of(part, *batch).detach()) for part in parts), rel=1e-6
    )


def test_consistency_is_its_formula(batch):
    denoised, clean, sigma, network, _ = batch
    p = network(denoised.detach()).softmax(1).double()
    mean = (p[:3] + p[3:]) / 2
    divergence = [sum(float((mean[i] * (mean[i] / q[i]).log()).sum()) for q in (p[:3], p[3:])) / 2 for i in range(3)]
    entropy = [-float((mean[i] * mean[i].log()).sum()) for i in range(3)]
    expected = sum(d + 0.05 * e for d, e in zip(divergence, entropy, strict=True)) / 3
    found = loss_of(Objective(consistency=1.0), denoised, clean, sigma, network, None)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)
    same = torch.cat([denoised[:3], denoised[:3]])
    assert float(loss_of(Objective(consistency=1.0), same, clean, sigma, network, None).detach()) == pytest.approx(
        0.05 * -float((p[:3] * p[:3].log()).sum(1).mean()), rel=1e-4
    )


def test_the_heads_consistency_is_the_classifiers_of_the_heads_logits(batch):
    denoised, clean, sigma, _, labels = batch
    own = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    found = loss(Objective(head=1.0, head_consistency=3.0), denoised, clean, sigma, labels=labels, own=own)
    other = loss(Objective(consistency=3.0), own, clean, sigma, network=nn.Identity())
    assert float(found) == pytest.approx(float(other + F.cross_entropy(own, labels)), rel=1e-5)


def test_two_draws_where_predictions_are_compared():
    assert [Objective.parse(text).draws for text in ("clf + head", "clf + cons", "head + headcons")] == [1, 2, 2]
    assert Objective.parse("clf + cons + head + headcons").without_classifier == Objective(
        head=1.0, head_consistency=1.0
    )


def test_adversarial_noise_is_its_formula(batch):
    """Two steps of sign ascent on the noise eps, with x + sigma eps before a linear denoiser and classifier, by hand."""
    noisy, _, sigma, network, labels = (part.detach() if isinstance(part, torch.Tensor) else part for part in batch)
    scale = nn.Parameter(torch.tensor(0.8))
    moved = adversarial_noise(lambda seen: network(scale * seen), noisy, sigma, labels)
    assert scale.grad is None
    assert not moved.requires_grad
    weight, bias = network[1].weight.double(), network[1].bias.double()
    for i in range(len(noisy)):
        y = noisy[i].double().flatten()
        for _ in range(2):
            logits = 0.8 * weight @ y + bias
            wrong = logits.softmax(0) - F.one_hot(labels[i], 5)
            eps_slope = float(sigma[i]) * (0.8 * weight.T @ wrong)  # of cross-entropy with respect to eps
            y = y + 0.1 * float(sigma[i]) * eps_slope.sign()
        assert torch.allclose(moved[i].double().flatten(), y, atol=1e-6)
    before, after = (F.cross_entropy(network(0.8 * seen), labels) for seen in (noisy, moved))
    assert after > before


def test_the_gradient_of_adv_is_that_of_clf_at_the_moved_noise(batch):
    """Descent at that eps: nothing flows back through the search. Central differences in float64, eps held."""
    noisy, clean, sigma, network, labels = batch
    noisy, clean, sigma = noisy.detach().double(), clean.double(), sigma.double()
    network = network.double()
    scale = nn.Parameter(torch.tensor(0.8, dtype=torch.float64))

    def value(moved):
        return loss(Objective(adversarial=3.0), scale * moved, clean, sigma, network=network, labels=labels)

    moved = adversarial_noise(lambda seen: network(scale * seen), noisy, sigma, labels)
    value(moved).backward()
    ends = []
    for change in (1e-2, -1e-2):
        with torch.no_grad():
            scale.add_(change)
            ends.append(3 * float(F.cross_entropy(network(scale * moved).float(), labels)))
            scale.sub_(change)
    assert float(scale.grad) == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=1e-3)
    plain = adversarial_noise(lambda seen: 0 * network(seen), noisy, sigma, labels)
    assert torch.equal(plain, noisy)  # where nothing can be learned of the way, the noise stays


def test_selective_counts_only_what_the_classifier_gets_right(batch):
    denoised, clean, sigma, network, labels = batch
    logits = network(denoised.detach())
    labels = torch.where(torch.tensor([True, False, True, False, False, True]), logits.argmax(1), logits.argmin(1))
    log_p = logits.log_softmax(1)
    expected = -sum(float(log_p[i, labels[i]]) for i in (0, 2, 5)) / 6
    found = loss_of(Objective(selective=2.0), denoised, clean, sigma, network, labels)
    assert float(found.detach()) == pytest.approx(2 * expected, rel=1e-5)
    found.backward()
    assert [bool(gradient.any()) for gradient in denoised.grad] == [True, False, True, False, False, True]


@pytest.mark.parametrize("objective", ["clf", "adv", "head"])
def test_label_smoothing_spreads_a_share_of_each_label(batch, objective):
    denoised, clean, sigma, network, labels = batch
    own = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    log_p = (own if objective == "head" else network(denoised.detach())).log_softmax(1)
    expected = sum(-0.8 * float(log_p[i, labels[i]]) - 0.2 * float(log_p[i].mean()) for i in range(6)) / 6
    chosen = Objective.parse(objective)
    found = loss(chosen, denoised, clean, sigma, network=network, labels=labels, own=own, label_smoothing=0.2)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)


def test_temperature_divides_the_logits(batch):
    denoised, _, _, network, labels = batch
    cooler = loss_of(Objective(classification=1.0), *batch, temperature=4.0)
    assert float(cooler.detach()) == pytest.approx(float(F.cross_entropy(network(denoised.detach()) / 4.0, labels)))


def test_stability_needs_no_labels_and_pulls_to_the_classifiers_own_answer(batch):
    denoised, clean, sigma, network, _ = batch
    loss_of(Objective(stability=1.0), denoised, clean, sigma, network, None).backward()
    moved = denoised.detach() - 0.5 * denoised.grad
    own = network(clean).argmax(1)
    assert F.cross_entropy(network(moved), own) < F.cross_entropy(network(denoised.detach()), own)


def test_the_head_learns_true_labels_and_asks_no_classifier(batch):
    denoised, clean, sigma, _, labels = batch
    own = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    found = loss(Objective(head=2.0), denoised, clean, sigma, labels=labels, own=own)
    assert float(found.detach()) == pytest.approx(2.0 * float(F.cross_entropy(own, labels)))
    whole = Objective.parse("clf + 0.5 stab + head + 2 mse")
    assert whole.without_classifier == Objective(head=1.0, mse=2.0)
    assert not whole.without_classifier.asks_classifier
    assert Objective(head=1.0).needs_labels


def test_the_gradient_of_each_image_is_cut_and_no_other_is_changed():
    images = torch.randn(4, 3, 2, 2, requires_grad=True)
    slopes = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    slopes *= (torch.tensor([0.1, 0.5, 2.0, 30.0]) / slopes.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    seen = cut_gradients(images, 1.0)
    assert torch.equal(seen, images)
    (seen * slopes).sum(dim=(1, 2, 3)).mean().backward()
    lengths = (4 * images.grad).flatten(1).norm(dim=1)
    assert lengths.tolist() == pytest.approx([0.1, 0.5, 1.0, 1.0], rel=1e-5)
    assert torch.allclose(F.cosine_similarity(images.grad.flatten(1), slopes.flatten(1)), torch.ones(4))
    images.grad = None
    (cut_gradients(images, 100.0) * slopes).sum(dim=(1, 2, 3)).mean().backward()
    assert torch.allclose(images.grad, slopes / 4)


def test_cutting_spares_the_squared_error(batch):
    denoised, clean, sigma, network, labels = batch
    loss(Objective(mse=1.0), denoised, clean, sigma).backward()
    alone = denoised.grad.clone()
    denoised.grad = None
    loss_of(Objective(mse=1.0, classification=1.0), denoised, clean, sigma, network, labels, cut=1e-3).backward()
    lengths = (6 * (denoised.grad - alone)).flatten(1).norm(dim=1)
    assert lengths.tolist() == pytest.approx([1e-3] * 6, rel=1e-3)
