"""OpenFHE's gates, on keys that it is given or on its own. Needs numpy and openfhe 1.6.1, and nothing of Holdfast.

    pip install numpy openfhe==1.6.1.0.22.4      CPython 3.10

    python gates.py given IN.npz OUT.npz         TOY
    python gates.py own TOY|STD128 OUT.npz

IN has `rotation_0` and `switch`, as `holdfast.encrypted.Bootstrap` takes them, and pairs, `ciphertexts`
(P, 2, n+1). OUT has `once` (6, P, n+1), the gates (GATES) of each pair; `twice`, the gates of what the pair's NAND
and XOR gave; and `extended` (6, P, N+1), the latter before the switch to the small key. Of OpenFHE's own keys it
has these, the pairs and the set's parameters as well.

A key file (PortableBinary of cereal, little endian): a head; the rotation's keys of sign 1, then of sign -1, as
values at the roots of X^N + 1 modulo Q in bit-reversed order; a head; the switching keys but for digits of 0,
first all a, then all b. The first object of a class has the class's version, a zero, in front.

Shapes: n the small key's length, N the ring's degree, P pairs.
"""

import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import openfhe as fhe

GATES = ("and", "or", "nand", "nor", "xor", "xnor")
BITS = ((0, 0), (0, 1), (1, 0), (1, 1))
HEAD, SWITCH_HEAD = 93, 32
"""Bytes."""
VERSIONS = (24, 33)
"""Where in the rotation's keys a version stands, before the first polynomial's fields and in them."""


class Session:
    """A context of a set, with keys of its own."""

    def __init__(self, name, folder):
        self.folder = Path(folder)
        self.context = fhe.BinFHEContext()
        self.context.GenerateBinFHEContext(getattr(fhe, name), fhe.GINX)
        self.secret = self.context.KeyGen()
        self.context.BTKeyGen(self.secret)
        tree = self.tree(self.context)
        self.n, self.degree, self.modulus = first(tree, "n"), first(tree, "N"), first(tree, "Q")["v"]
        self.ciphertext_modulus, self.switch_modulus = first(tree, "q")["v"], first(tree, "qKS")["v"]
        self.root, self.noise = first(tree, "ru")["v"], [first(tree, "sigma"), first(tree, "sigmaKS")]
        self.gadgets = [self._gadget(each["key"], each["value"]) for each in first(tree, "baseGMap")]

    def _gadget(self, base, count):
        """(unit, base, digits, count): so many digits reach Q, and the lowest of them is rounded away."""
        reach = next(digits for digits in range(1, 64) if base**digits >= self.modulus)
        return base, base, reach - 1, count

    def tree(self, thing):
        path = self.folder / "thing.json"
        assert fhe.SerializeToFile(str(path), thing, fhe.JSON)
        return json.loads(path.read_text())

    def numbers(self, ciphertext):
        """a, then b."""
        tree = self.tree(ciphertext)
        return [*first(tree, "a")["v"], first(tree, "b")["v"]]

    def ciphertext(self, numbers):
        tree, path = self.tree(self.context.Encrypt(self.secret, 0, fhe.SMALL_DIM)), self.folder / "thing.json"
        assert len(numbers) == self.n + 1
        first(tree, "a")["v"], first(tree, "b")["v"] = [int(each) for each in numbers[:-1]], int(numbers[-1])
        path.write_text(json.dumps(tree))
        made = only(fhe.DeserializeLWECiphertext(str(path), fhe.JSON))
        assert self.numbers(made) == list(numbers)
        return made

    def gates(self, pairs):
        once = [[self.gate(name, *pair) for pair in pairs] for name in GATES]
        again = list(zip(once[GATES.index("nand")], once[GATES.index("xor")], strict=True))
        twice = [[self.gate(name, *pair) for pair in again] for name in GATES]
        extended = [[self.gate(name, *pair, True) for pair in again] for name in GATES]
        parts = {"once": once, "twice": twice, "extended": extended}
        return {part: np.array([[self.numbers(c) for c in row] for row in rows]) for part, rows in parts.items()}

    def gate(self, name, x, y, extended=False):
        return self.context.EvalBinGate(getattr(fhe, name.upper()), x, y, extended)

    def written(self):
        path = self.folder / "key.bin"
        assert fhe.SerializeToFile(str(path), self.context.GetBTKey(), fhe.BINARY)
        return path

    def load(self, path):
        self.context.BTKeyLoad(only(fhe.DeserializeBinFHEBTKey(str(path), fhe.BINARY)))


class KeyFile:
    """The parts of a key file that a session wrote."""

    def __init__(self, session, path):
        self.session = session
        self.type = _rotation_type(session)
        with path.open("rb") as file:
            self.head = file.read(HEAD)
            raw = bytearray(file.read(self.type.itemsize + 4 * len(VERSIONS)))
            self.switch_head = file.read(SWITCH_HEAD)
            self.after = file.tell()
        for at in reversed(VERSIONS):
            assert raw[at : at + 4] == bytes(4)
            del raw[at : at + 4]
        self.rotation = np.frombuffer(raw, self.type)
        degree, self.base, self.digits, top, n = np.frombuffer(self.switch_head, "<u4")[3:].tolist()
        places = [(j, t) for j in range(self.digits) for t in range(1, self.base if j < self.digits - 1 else top)]
        self.places = np.array([j * self.base + t for j, t in places])
        """Of a coefficient's switching keys, those that are in the file: a digit of 0 has none."""
        self.rows = (self.digits - 1) * self.base + top
        assert (degree, n) == (session.degree, session.n)
        assert path.stat().st_size == self.after + 4 * degree * len(places) * (n + 1)
        assert (self.rotation["signs"]["length"] == n).all()
        for polynomials in self.polynomials():
            assert (polynomials["length"] == degree).all()
            assert (polynomials["modulus"] == session.modulus).all()
            assert (polynomials["form"] == 0).all()  # values at the roots

    def polynomials(self):
        """Of each gadget: (2, count, rows, 2) views, the two signs first."""
        for part in self.rotation["signs"]["keys"].dtype.names:
            items = self.rotation["signs"]["keys"][part][0]
            assert (items["rows"] == items["row"].shape[-1]).all()
            yield items["row"]["polynomial"]

    def rotation_keys(self):
        """Of each gadget: (count, 2, digits, 2, 2, N) coefficients."""
        table = _powers(self.session, pow(self.session.root, -1, self.session.modulus)).T.copy()
        modulus = self.session.modulus
        back = pow(self.session.degree, -1, modulus)
        for polynomials in self.polynomials():
            signs = [_times(polynomials["values"][sign], table, modulus) * back % modulus for sign in (0, 1)]
            found = np.stack(signs, 1).astype(np.int32)
            yield found.reshape(*found.shape[:2], -1, 2, *found.shape[3:])

    def set_rotation_keys(self, keys):
        table, modulus = _powers(self.session, self.session.root), self.session.modulus
        for polynomials, part in zip(self.polynomials(), keys, strict=True):
            values = _times(part, table, modulus).swapaxes(0, 1)
            polynomials["values"][:] = values.reshape(polynomials["values"].shape)

    def switch(self, path):
        """(N, rows, n+1), read coefficient by coefficient: it may be large."""
        degree, n, places = self.session.degree, self.session.n, self.places
        small = np.int16 if self.session.switch_modulus <= 2**15 else np.int32
        keys = np.zeros((degree, self.rows, n + 1), small)
        with path.open("rb") as file:
            file.seek(self.after)
            for key in keys:
                key[places, :n] = np.frombuffer(file.read(4 * len(places) * n), "<u4").reshape(-1, n)
            for key in keys:
                key[places, n] = np.frombuffer(file.read(4 * len(places)), "<u4")
        return keys

    def write(self, path, switch):
        """The file with the rotation's keys as they are here, and with these switching keys."""
        raw = bytearray(self.rotation.tobytes())
        for at in VERSIONS:
            raw[at:at] = bytes(4)
        stored = switch[:, self.places].astype("<u4")
        a, b = stored[..., :-1].tobytes(), stored[..., -1].tobytes()
        path.write_bytes(self.head + raw + self.switch_head + a + b)


def _rotation_type(session):
    polynomial = [
        ("pointer", "<u4"), ("valid", "u1"), ("length", "<u8"), ("values", "<u4", session.degree),
        ("modulus", "<u4"), ("form", "<u4"), ("ring", "<u4", 2),
    ]  # fmt: skip
    row = [("length", "<u8"), ("polynomial", polynomial, 2)]
    keys = [
        (f"gadget_{at}", [("rows", "<u8"), ("row", row, 2 * digits)], count)
        for at, (_, _, digits, count) in enumerate(session.gadgets)
    ]
    return np.dtype([("signs", [("length", "<u8"), ("keys", keys)], 2)])


def _powers(session, root):
    """root^(k (2 reversed(t) + 1)), (N coefficients k, N places t), as float64."""
    degree = session.degree
    powers = [1]
    for _ in range(2 * degree - 1):
        powers.append(powers[-1] * root % session.modulus)
    reverse = np.zeros(1, np.int64)
    while len(reverse) < degree:
        reverse = np.concatenate([2 * reverse, 2 * reverse + 1])
    return np.array(powers, np.float64)[np.arange(degree)[:, None] * (2 * reverse + 1) % (2 * degree)]


def _times(a, table, modulus):
    """a @ table modulo the modulus, exact: in two halves, of which float64 holds all sums."""
    low, high = ((part.astype(np.float64) @ table).astype(np.int64) for part in (a & 0x3FFF, a >> 14))
    return (low + (high % modulus << 14)) % modulus


def first(tree, key):
    """The first value under this key, depth first; None: there is none."""
    if isinstance(tree, dict) and key in tree:
        return tree[key]
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return next((value for value in (first(each, key) for each in inner) if value is not None), None)


def only(result):
    return result[0] if isinstance(result, tuple) else result


def given(source, folder):
    session = Session("TOY", folder)
    key = KeyFile(session, session.written())
    with np.load(source) as archive:
        key.set_rotation_keys([archive["rotation_0"]])
        key.write(Path(folder) / "given.bin", archive["switch"])
        ciphertexts = archive["ciphertexts"].astype(int)
    session.load(Path(folder) / "given.bin")
    return session.gates([[session.ciphertext(each) for each in pair] for pair in ciphertexts.tolist()])


def own(name, folder):
    session = Session(name, folder)
    pairs = [[session.context.Encrypt(session.secret, bit, fhe.SMALL_DIM) for bit in bits] for bits in BITS]
    found = session.gates(pairs)
    found["ciphertexts"] = np.array([[session.numbers(c) for c in pair] for pair in pairs])
    path = session.written()
    del pairs, session.context, session.secret  # which hold a second copy of the keys
    key = KeyFile(session, path)
    found.update({f"rotation_{at}": part for at, part in enumerate(key.rotation_keys())})
    found["sizes"] = np.array([session.n, session.degree, session.modulus, session.ciphertext_modulus])
    found["gadgets"] = np.array(session.gadgets)
    found["switching"] = np.array([session.switch_modulus, key.base, key.digits])
    found["noise"] = np.array(session.noise)
    found["switch"] = key.switch(path)
    return found


if __name__ == "__main__":
    what, argument, out = sys.argv[1:]
    version = importlib.metadata.version("openfhe")
    if not version.startswith("1.6.1"):
        sys.exit(f"These are the key files of openfhe 1.6.1; this is {version}.")
    with tempfile.TemporaryDirectory(dir=Path(out).resolve().parent) as folder:
        np.savez(out, version=version, **{"given": given, "own": own}[what](argument, folder))
