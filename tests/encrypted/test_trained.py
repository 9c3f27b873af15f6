"""Trained encrypted programs: what they compute, and their gradients, against differences and closed forms."""

import math

import numpy as np
import pytest
import torch

from holdfast import HoldfastError, UsageError
from holdfast.circuits.trace import trace
from holdfast.encrypted import SETS, SecretKey, program_of
from holdfast.encrypted.descent import EXACT, Backward
from holdfast.encrypted.trained import TrainedNetwork, backward, run, run_one, weights_of

NETLIST = trace(lambda x: (x[0] & x[1]) ^ x[2], {"x": 3}, name="three")
BITS = torch.tensor([[b >> i & 1 for i in range(3)] for b in range(8)])


def made(name="tiny", seed=0, trivial="nothing", **form):
    key = SecretKey(SETS[name], np.random.default_rng(seed), trivial=trivial)
    network = key.network(program_of(NETLIST, **form))
    return key, network, TrainedNetwork.of(network)


def phases(key, ciphertexts):
    """With gradients."""
    q = key.parameter_set.ciphertext_modulus
    return (ciphertexts[..., -1] - ciphertexts[..., :-1] @ torch.from_numpy(key.small_n).double()) / q


def secret(key):
    return torch.from_numpy(key.small_n).double(), torch.from_numpy(key.ring_N).double()


def loss(key, trained, sent):
    return (1 - torch.cos(2 * math.pi * (phases(key, trained(sent)) - 0.1))).mean()


@pytest.mark.parametrize("name", ["tiny", "small", "medium"])
@pytest.mark.parametrize("form", [{}, {"tables": 3, "hidden": True}, {"tables": 2}])
def test_it_answers_as_the_evaluated_network_to_the_tick(name, form):
    key, network, trained = made(name, **form)
    sent = key.encrypt(BITS.repeat(4, 1), network.program.step)
    assert torch.equal(trained(sent), network(sent))


def test_k_networks_are_each_what_it_is_alone():
    each = [made(seed=seed, tables=3, hidden=True) for seed in range(3)]
    weights = {n: torch.stack([weights_of(net)[n] for _, net, _ in each]) for n in weights_of(each[0][1])}
    sent = torch.stack([key.encrypt(BITS, net.program.step) for key, net, _ in each])
    together = run(each[0][1].program, SETS["tiny"], weights, sent)
    for found, one, (_, _, trained) in zip(together, sent, each, strict=True):
        assert torch.equal(found, trained(one))


@pytest.mark.parametrize(("name", "size"), [("bodies", 2.0**-34), ("switch", 2.0**-28)])
def test_exact_gradients_against_differences(name, size):
    key, network, trained = made(tables=3, hidden=True)
    sent = key.encrypt(BITS, network.program.step)
    loss(key, trained, sent).backward()
    assert (trained.masks.grad == 0).all()  # masks come to the answer through digits only
    weight, generator = getattr(trained, name), torch.Generator().manual_seed(1)
    way = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    predicted = float((way * weight.grad).sum())
    with torch.no_grad():
        before = loss(key, trained, sent)
        weight += size * way
        after = loss(key, trained, sent)
    assert float(after - before) / size == pytest.approx(predicted, rel=1e-2)


def test_exact_gradients_of_a_blocks_key():
    """One tick on the last block: products stay whole, and no digit comes after but the switch's."""
    key, network, trained = made(tables=3, hidden=True)
    sent = key.encrypt(BITS, network.program.step)
    found = phases(key, trained(sent))[:, 0]
    checked = 0
    for example in range(len(BITS)):
        (grad,) = torch.autograd.grad(found[example], trained.rotation, retain_graph=True)
        assert (grad[:, :, :, 0] == 0).all()  # what adds to a is cut into digits by the switch; b's half passes
        at = grad[-1].abs().argmax()
        with torch.no_grad():
            kept = trained.rotation[-1].flatten()[at].clone()
            trained.rotation[-1].view(-1)[at] += 2.0**-32
            after = phases(key, trained(sent))[example, 0]
            trained.rotation[-1].view(-1)[at] = kept
        moved = round(float(after - found[example].detach()) * 2**32)
        assert moved == round(float(grad[-1].flatten()[at]))
        checked += moved != 0
    assert checked >= len(BITS) - 2


def test_with_the_key_gradients_are_those_of_the_phase():
    """Closed form: the answer is a coefficient of table - mask x z, the one that the true phase points at."""
    key, network, trained = made(tables=3, hidden=True)
    p, (small, ring) = key.parameter_set, secret(key)
    sent = key.encrypt(BITS, network.program.step)
    with backward(Backward("key")):
        found = phases(key, run_one(trained, sent, (small, ring)))[:, 0]
    totals = torch.cat(
        [sent.sum(1)[:, :0], sum(w * sent[:, i] for i, w in enumerate(network.program.cells[0].weights))], -1
    )
    start = round(network.program.cells[0].start * p.ciphertext_modulus)
    totals[:, -1] += start
    exponents = torch.floor(totals % p.ciphertext_modulus * (2 * p.degree) / p.ciphertext_modulus + 0.5).long()
    points = (exponents[:, -1] - exponents[:, :-1] @ small.long()) % (2 * p.degree)
    for example in range(len(BITS)):
        by_bodies, by_masks = torch.autograd.grad(found[example], [trained.bodies, trained.masks], retain_graph=True)
        at = int(-points[example]) % (2 * p.degree)
        expected = torch.zeros(p.degree, dtype=torch.float64)
        expected[at % p.degree] = 1 if at < p.degree else -1
        assert torch.allclose(by_bodies[0], expected, atol=1e-9)
        # d/d mask_j of -(mask x z) at coefficient c is -z_(c - j), with X^N = -1.
        c, j = at % p.degree, torch.arange(p.degree)
        of_mask = -ring[(c - j) % p.degree] * torch.where(j <= c, 1.0, -1.0) * expected[c]
        assert torch.allclose(by_masks[0], of_mask, atol=1e-9)


def test_without_masks_straight_through_knows_what_the_key_tells():
    """Control: with trivial keys nothing wraps, so the first digit's slope is the key-aware one for the tables."""
    key, network, trained = made(trivial="keys", tables=3, hidden=True)
    sent = key.encrypt(BITS, network.program.step)
    grads = {}
    for name, rule in {"first": Backward("first"), "key": Backward("key")}.items():
        with backward(rule):
            found = phases(key, run_one(trained, sent, secret(key)))
        (grads[name],) = torch.autograd.grad(found.square().sum(), trained.bodies)
    cosine = torch.nn.functional.cosine_similarity(grads["first"].flatten(), grads["key"].flatten(), dim=0)
    assert cosine > 0.99
    masked = made(tables=3, hidden=True)[2]
    with backward(Backward("first")):
        (wild,) = torch.autograd.grad(phases(key, masked(sent)).square().sum(), masked.bodies)
    assert wild.norm() > 1e6 * grads["first"].norm()


def test_damped_and_normalised_gradients_stay_in_bounds():
    key, network, trained = made("small", tables=3, hidden=True)
    sent = key.encrypt(BITS, network.program.step)
    norms = {}
    for name, rule in {
        "exact": EXACT,
        "raw": Backward("first"),
        "damped": Backward("first", damping=2.0**-10),
        "normalised": Backward("first", normalised=True),
    }.items():
        with backward(rule):
            (grad,) = torch.autograd.grad(loss(key, trained, sent), trained.bodies)
        norms[name] = float(grad.norm())
    assert norms["raw"] > 1e40
    assert norms["damped"] < 1e3
    assert 0.1 < norms["normalised"] / norms["exact"] < 10


def test_a_loss_through_decryption_hands_over_the_key():
    key, network, trained = made("small", tables=3, hidden=True)
    loss(key, trained, key.encrypt(BITS, network.program.step)).backward()
    told = (trained.switch.grad[..., :-1] != 0).flatten(0, 1).any(0)
    assert torch.equal(told, torch.from_numpy(key.small_n) == 1)


def test_earlier_levels_have_no_exact_gradient():
    key, network, trained = made(tables=2, hidden=True)
    sent = key.encrypt(BITS, network.program.step)
    for rule, reached in ((EXACT, False), (Backward("key", half_width=8), True)):
        with backward(rule):
            found = phases(key, run_one(trained, sent, secret(key)))
        (grad,) = torch.autograd.grad(found.square().sum(), trained.bodies)
        assert bool((grad[0] != 0).any()) is reached  # the AND, which the XOR reads
        assert (grad[1] != 0).any()


def test_what_is_refused():
    key, network, trained = made()
    with pytest.raises(HoldfastError, match="does not go into the network"):
        trained.key = key
    with pytest.raises(UsageError, match="Keys of toy are evaluated and not trained"):
        TrainedNetwork.of(SecretKey(SETS["toy"], np.random.default_rng(0)).network(program_of(NETLIST)))
    with pytest.raises(UsageError, match=r"takes ciphertexts of shape \(B, 3, 9\)"):
        trained(torch.zeros(2, 2, 9, dtype=torch.float64))
    with backward(Backward("key")), pytest.raises(UsageError, match="this network has none"):
        trained(key.encrypt(BITS, network.program.step))
