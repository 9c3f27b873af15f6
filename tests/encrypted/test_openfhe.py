"""Gates against OpenFHE 1.6.1, to the coefficient.

`openfhe/toy.npz` holds what OpenFHE gave with keys of ours. The keys are not in it: they are drawn anew, and are
recognised by their hash. numpy promises no equal draws from one version to the next (1.26 to 2.4 draw these keys
alike); where they differ the tests fail and say so, and the file is made anew by

    HOLDFAST_OPENFHE=PYTHON python tests/encrypted/test_openfhe.py

PYTHON has openfhe 1.6.1 and numpy (`openfhe/gates.py`). Where the variable is set, OpenFHE is asked again, and
with its own keys too; of STD128 only if HOLDFAST_OPENFHE_STD128=1, as that takes 1.0 GB of memory in PYTHON and
then as much here, 1.4 GB of disk for a while, and half a minute.
"""

import hashlib
import itertools
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from holdfast.encrypted import SETS, Bootstrap, SecretKey, bootstrap, gate

PYTHON = os.environ.get("HOLDFAST_OPENFHE")
HERE = Path(__file__).parent / "openfhe"
STORED = HERE / "toy.npz"
GATES = ("and", "or", "nand", "nor", "xor", "xnor")
BITS = torch.tensor(list(itertools.product((0, 1), repeat=2)) * 2)
SHOWN = 1
"""Pairs whose ciphertexts before the switch are stored: they are large."""
Q = SETS["toy"].modulus

live = pytest.mark.skipif(not PYTHON, reason="HOLDFAST_OPENFHE names no Python with openfhe")
large = pytest.mark.skipif(
    os.environ.get("HOLDFAST_OPENFHE_STD128") != "1", reason="HOLDFAST_OPENFHE_STD128 is not 1: it takes 1 GB"
)


class Watched(Bootstrap):
    """Keeps what the last call had before the switch to the small key."""

    def extracted(self, acc, offset):
        self.seen = super().extracted(acc, offset)
        return self.seen


def drawn(seed=0):
    """(key, network, ciphertexts of the bits (P, 2, n+1)), all from one generator."""
    key = SecretKey(SETS["toy"], np.random.default_rng(seed))
    made = key.evaluation_key()
    network = Watched(made.parameter_set, [*made.rotation], made.switch)
    return key, network, torch.stack([key.encrypt(bits) for bits in BITS.T], 1)


def hashed(network, ciphertexts):
    """SHA-256 of the keys and the ciphertexts, as 64-bit numbers."""
    total = hashlib.sha256()
    for part in (*network.rotation, network.switch, ciphertexts):
        total.update(part.detach().numpy().astype("<i8").tobytes())
    return total.hexdigest()


def at_the_edge(network):
    """The same keys but for the first step's, after which coefficients are Q // 2 and Q // 2 + 1.

    In a gate's table the top digit is 64 or -64 and the other is 0, so that X^e - 1 makes it 128, -128 or 0. This
    key multiplies b's top digit by a number that makes Q // 2 of 128, and adds it to a.
    """
    rotation = network.rotation[0].clone()
    rotation[0] = 0
    rotation[0, 0, 1, 1, 0, 0] = Q // 2 * pow(128, -1, Q) % Q
    return Watched(network.parameter_set, [rotation], network.switch)


def ours(network, ciphertexts):
    """What `openfhe/gates.py` gives, by this network: gates of the pairs, and of what two gates gave."""
    once, twice, extended = {}, {}, {}
    for name in GATES:
        once[name] = gate(network, name, *ciphertexts.double().unbind(1))
    for name in GATES:
        twice[name] = gate(network, name, once["nand"], once["xor"])
        extended[name] = network.seen
    parts = {"once": once, "twice": twice, "extended": extended}
    return {part: np.stack([each.long().numpy() for each in its.values()]) for part, its in parts.items()}


def shown(plain, edge):
    """What the stored file holds: of the keys as drawn, and of those at the edge."""
    extended = plain["extended"][:, :SHOWN]
    arrays = {"once": plain["once"], "twice": plain["twice"], "extended": extended, "edge": edge["once"]}
    return {name: each.astype(np.int32) for name, each in arrays.items()}


def ours_on_toy(network, ciphertexts):
    return shown(ours(network, ciphertexts), ours(at_the_edge(network), ciphertexts[:1]))


def asked(folder, *arguments):
    """What `openfhe/gates.py` wrote."""
    out = folder / "out.npz"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [PYTHON, HERE / "gates.py", *arguments, out], env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(out) as archive:
        found = dict(archive)
    out.unlink()
    return found


def openfhes_on_toy(network, ciphertexts, folder):
    def found(keys, some):
        rotation, switch = keys.rotation[0].numpy(), keys.switch.numpy()
        np.savez(folder / "in.npz", rotation_0=rotation, switch=switch, ciphertexts=some.numpy())
        return asked(folder, "given", folder / "in.npz")

    return shown(found(network, ciphertexts), found(at_the_edge(network), ciphertexts[:1]))


def stored(network, ciphertexts):
    with np.load(STORED) as archive:
        found = dict(archive)
    if str(found.pop("hash")) != hashed(network, ciphertexts):
        pytest.fail(
            f"Keys or ciphertexts are not those of {STORED.name}, so there is nothing to compare with: holdfast "
            f"draws them otherwise, or numpy does ({found['numpy']} then, {np.__version__} now). See this file's "
            "docstring."
        )
    del found["numpy"]
    return found


def different(left, right):
    """Of each array, how many numbers differ."""
    assert left.keys() == right.keys()
    assert {name: each.shape for name, each in left.items()} == {name: each.shape for name, each in right.items()}
    return {name: int((left[name] != right[name]).sum()) for name in left}


@pytest.fixture(scope="module")
def toy():
    return drawn()


@pytest.mark.parametrize("compiled", [True, False])
def test_every_coefficient_is_openfhes(toy, monkeypatch, compiled):
    _, network, ciphertexts = toy
    if not compiled:
        monkeypatch.setattr(bootstrap, "compiled", lambda: None)
    assert different(ours_on_toy(network, ciphertexts), stored(network, ciphertexts)) == {
        "once": 0, "twice": 0, "extended": 0, "edge": 0,
    }  # fmt: skip


def test_what_is_stored_decrypts_to_the_gates_bits(toy):
    key, network, ciphertexts = toy
    x, y = BITS.T
    nand, xor = 1 - (x & y), x ^ y
    for part, (a, b) in {"once": (x, y), "twice": (nand, xor)}.items():
        bits = key.decrypt(torch.from_numpy(stored(network, ciphertexts)[part]).double())
        expected = (a & b, a | b, 1 - (a & b), 1 - (a | b), a ^ b, 1 - (a ^ b))
        assert torch.equal(bits, torch.stack(expected))


def test_other_keys_are_not_compared():
    _, network, ciphertexts = drawn(seed=1)
    with pytest.raises(pytest.fail.Exception, match=r"not those of toy\.npz.*numpy does"):
        stored(network, ciphertexts)


def cut(*, below=False, up=False, reduced=False, positive=False):
    """`signed`, with other conventions: ties go the other way, in what is rounded away or in a digit; the top
    digit is reduced; Q // 2 is positive."""

    def whole(x, up):
        return torch.ceil(x - 0.5) if up else torch.floor(x + 0.5)

    def signed(x, unit, base, count, modulus):
        left = whole((x - modulus * (x >= modulus // 2 + positive)) / unit, below)
        found = []
        for _ in range(count - 1):
            above = whole(left / base, up)
            found.append(left - above * base)
            left = above
        return [*found, (left + base / 2) % base - base / 2 if reduced else left]

    return lambda patch: patch.setattr(bootstrap, "signed", signed)


def less(table, offset):
    """Q // 8 without the 1 that is added to it."""
    forward = Bootstrap.forward

    def changed(self, ciphertexts, given, added):
        return forward(self, ciphertexts, given - table * given.sign(), added - offset)

    return lambda patch: patch.setattr(Bootstrap, "forward", changed)


def the_other_way():
    block = Bootstrap._block

    def changed(self, acc, gadget, key, exponents):
        return block(self, acc, gadget, key, -exponents)

    return lambda patch: patch.setattr(Bootstrap, "_block", changed)


ALL = {"once", "twice", "extended", "edge"}
CONVENTIONS = {
    "as it is": (cut(), set()),
    "a tie of what is rounded away": (cut(below=True), ALL),
    "a tie of a digit": (cut(up=True), ALL),
    "the top digit is reduced": (cut(reduced=True), ALL),
    "Q // 2 is positive": (cut(positive=True), {"edge"}),
    "Q // 8 in the table": (less(1, 0), ALL),
    "Q // 8 is added": (less(0, 1), {"extended"}),  # the switch rounds it away
    "Q // 8": (less(1, 1), ALL),
    "the rotation turns the other way": (the_other_way(), ALL),
}


@pytest.mark.parametrize("which", CONVENTIONS)
def test_another_convention_is_seen(toy, monkeypatch, which):
    _, network, ciphertexts = toy
    change, where = CONVENTIONS[which]
    monkeypatch.setattr(bootstrap, "compiled", lambda: None)  # what is changed is torch's
    change(monkeypatch)
    found = different(ours_on_toy(network, ciphertexts), stored(network, ciphertexts))
    assert {name for name, count in found.items() if count} == where, found


@live
def test_openfhe_gives_what_is_stored(toy, tmp_path):
    _, network, ciphertexts = toy
    now = openfhes_on_toy(network, ciphertexts, tmp_path)
    assert not any(different(now, stored(network, ciphertexts)).values())


@live
@pytest.mark.parametrize("name", ["toy", pytest.param("std128", marks=large)])
def test_with_openfhes_own_keys(tmp_path, monkeypatch, name):
    p, theirs = SETS[name], asked(tmp_path, "own", name.upper())
    gadgets = [[g.unit, g.base, g.digits, g.count] for g in p.gadgets]
    assert theirs["sizes"].tolist() == [p.n, p.degree, p.modulus, p.ciphertext_modulus]
    assert theirs["gadgets"].tolist() == gadgets
    assert theirs["switching"].tolist() == [p.switch.modulus, p.switch.base, p.switch.digits]
    assert theirs["noise"].tolist() == [p.ring_noise, p.switch.noise]

    rotation = [torch.from_numpy(theirs[f"rotation_{at}"]) for at in range(len(p.gadgets))]
    network = Watched(p, rotation, torch.from_numpy(theirs["switch"]))
    found = ours(network, torch.from_numpy(theirs["ciphertexts"]))
    assert different(found, {part: theirs[part] for part in found}) == {"once": 0, "twice": 0, "extended": 0}

    if name == "std128":  # roundings that toy has not: its switch's modulus is Q, and odd
        extended, twice = torch.from_numpy(theirs["extended"][0]).double(), theirs["twice"][0]
        assert (network.switched(extended).numpy() == twice).all()
        for rescaled in (down_to_the_switch, half_down_to_q):
            monkeypatch.setattr(bootstrap, "_rescaled", rescaled)
            assert (network.switched(extended).numpy() != twice).any(), rescaled.__name__


def down_to_the_switch(x, modulus, other):
    return torch.floor(x * other / modulus + (0 if modulus % 2 else 0.5)) % other


def half_down_to_q(x, modulus, other):
    scaled = x * other / modulus
    return (torch.floor(scaled + 0.5) if modulus % 2 else torch.ceil(scaled - 0.5)) % other


if __name__ == "__main__":
    import tempfile

    _, made, pairs = drawn()
    with tempfile.TemporaryDirectory() as temporary:
        arrays = openfhes_on_toy(made, pairs, Path(temporary))
    np.savez_compressed(STORED, hash=hashed(made, pairs), numpy=np.__version__, **arrays)
