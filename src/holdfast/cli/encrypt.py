"""`holdfast encrypt`."""

import json
import sys
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from holdfast.cli.aside import aside

NETWORK, KEY = "network.safetensors", "client.json"
"""What is written: what may be given away, and what may not."""
MOST_CHECKS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Encrypt:
    """Turn a Boolean circuit into a network that computes on encrypted bits, make its client's secret key, and compare
    the two on random inputs."""

    circuit: tyro.conf.Positional[str]
    """A file (.v, .sv, .blif, .aag, .aig, .txt or .bristol), FILE.py:function, or a built-in name (sha256, sha256-8,
    keccak)."""
    to: Path
    """Write network.safetensors and client.json (the secret key) into this folder."""
    set: str = "tiny"
    """Parameter set, from the smallest: tiny, small, ... std128. What security each is estimated to have is printed."""
    top: str | None = None
    """Of Verilog: the module."""
    tables: int | None = None
    """Gather gates into encrypted tables of 2 to 5 bits, so that the function is hidden too, but for which table reads
    what. Default: public gates."""
    fixed: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """PORT=NUMBER: bits of these input ports are encrypted and held by the network, such as a universal circuit's
    instructions."""
    checks: int = 16
    """Random inputs on which the decrypted answers are compared with the circuit's."""
    seed: int | None = None
    """Of keys and masks, to make the same again: an experiment's, as who knows the seed knows the key. Default: from
    the system's entropy."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Encrypt, compare, write. Exit status 1 if a bit differs."""
        from holdfast.circuits.sources import read
        from holdfast.encrypted import SETS, program_of
        from holdfast.encrypted.noise import refuse_noise
        from holdfast.errors import UsageError, counted, nearest, printable

        if self.set not in SETS:
            raise nearest(self.set, SETS, what="parameter set")
        counted("encrypt", checks=self.checks)
        if self.checks > MOST_CHECKS:
            raise UsageError(f"--checks is {MOST_CHECKS:,} at most; got {self.checks:,}.")
        if self.seed is not None and not 0 <= self.seed < 1 << 64:
            raise UsageError(f"--seed is 0 or more, and below 2^64; got {self.seed}.")
        pairs = [_number(each) for each in self.fixed]
        fixed = dict(pairs)
        if len(fixed) < len(pairs):
            raise UsageError(f"--fixed names a port twice: {' '.join(self.fixed)}.")
        _refuse_place(self.to)
        with warnings.catch_warnings(record=True) as told, aside() if self.json else nullcontext():
            warnings.simplefilter("always")
            netlist = read(self.circuit, top=self.top)  # a user's file may print
        for warning in told:
            print(f"holdfast: {printable(str(warning.message))}", file=sys.stderr)
        program = program_of(netlist, tables=self.tables, hidden=self.tables is not None, fixed=fixed)
        refuse_noise(SETS[self.set], program)
        record = self._made(netlist, program, fixed)
        print(json.dumps(record) if self.json else _said(record))
        return 1 if record["wrong_bits"] else 0

    def _made(self, netlist: Any, program: Any, fixed: dict[str, int]) -> dict[str, Any]:
        import time

        import numpy as np
        import torch

        from holdfast.circuits.simulate import simulate
        from holdfast.encrypted import SETS, SecretKey
        from holdfast.encrypted.noise import Noise

        p, began = SETS[self.set], time.perf_counter()
        key = SecretKey(p, None if self.seed is None else _drawn(self.seed, p.name, program))
        network = key.network(program)
        made = time.perf_counter() - began
        rng = np.random.default_rng(0)
        bits = {port.name: rng.random((self.checks, len(port.bits))) < 0.5 for port in netlist.inputs}
        for name, number in fixed.items():
            bits[name][:] = [number >> i & 1 for i in range(bits[name].shape[1])]
        sent = key.encrypt(
            torch.from_numpy(np.concatenate([bits[name] for name, _ in program.inputs], 1)).long(), program.step
        )
        network(sent[:1])  # compiles the kernel, and tells how long one takes
        began = time.perf_counter()
        network(sent[:1])
        one = time.perf_counter() - began
        if self.checks * one > 1:
            print(f"comparing {self.checks} inputs: about {self.checks * one:.0f} s or less", file=sys.stderr)
        began = time.perf_counter()
        answers = key.decrypt(network(sent), program.steps).numpy() == 1
        seconds = time.perf_counter() - began
        expected = simulate(netlist, np.concatenate([bits[port.name] for port in netlist.inputs], 1))
        wrong = int((answers != expected).sum())
        record = {
            "circuit": program.name,
            "set": p.name,
            "security_bits": p.bits,
            "insecure": p.insecure,
            "inputs": program.input_bits,
            "outputs": len(program.output_bits),
            "fixed_bits": len(program.fixed),
            "cells": len(program.cells),
            "levels": len(program.levels),
            "hidden_tables": program.hidden,
            "key_numbers": p.weights,
            "expected_wrong_bits": Noise(p).wrong_bits(program),
            "checked": self.checks,
            "wrong_bits": wrong,
            "key_seconds": made,
            "ms_per_cell": 1e3 * seconds / max(1, self.checks * len(program.cells)),
        }
        if not wrong:
            self.to.mkdir(exist_ok=True)
            key.save(self.to / KEY)
            network.save(self.to / NETWORK)
            record |= {"network": str(self.to / NETWORK), "key": str(self.to / KEY)}
        return record


def _drawn(seed: int, name: str, program: Any) -> Any:
    """A generator of this seed, this set and this program: two programs under one would show their difference."""
    from hashlib import blake2b

    import numpy as np

    text = repr((seed, name, program.to_json(), program.fixed, [cell.slots for cell in program.cells]))
    return np.random.Generator(np.random.Philox(key=int.from_bytes(blake2b(text.encode(), digest_size=16).digest())))


def _number(text: str) -> tuple[str, int]:
    from holdfast.errors import UsageError

    name, _, number = text.rpartition("=")
    try:
        if name:
            return name, int(number, 0)
    except ValueError:
        pass
    raise UsageError(f"--fixed takes PORT=NUMBER, such as program=0x2f; got {text!r}.")


def _refuse_place(to: Path) -> None:
    """Before anything is made, a place where nothing can, or should, be written."""
    from holdfast.errors import UsageError

    if to.exists() and not to.is_dir():
        raise UsageError(f"--to {to} is a file. Name a folder.")
    if not to.parent.is_dir():
        raise UsageError(f"--to {to}: there is no folder {to.parent}. Make it first, or name another.")
    for what, name in (("a secret key", KEY), ("a network", NETWORK)):
        if (to / name).exists() or (to / name).is_symlink():
            raise UsageError(f"{to / name} is there already, perhaps {what} that would be lost. Name another folder.")


def _said(record: dict[str, Any]) -> str:
    warning = " (INSECURE: for experiments)" if record["insecure"] else ""
    tables = "encrypted tables" if record["hidden_tables"] else "public gates"
    held = f", {record['fixed_bits']} bits held encrypted" if record["fixed_bits"] else ""
    lines = [
        f"{record['circuit']}: {record['inputs']} bits in, {record['outputs']} out{held}",
        f"program   {record['cells']:,} {tables} in {record['levels']:,} levels",
        f"set       {record['set']}: {record['security_bits']:.0f} bits of security{warning}",
        f"keys      {record['key_numbers']:,} numbers, made in {record['key_seconds']:.1f} s",
        f"noise     {record['expected_wrong_bits']:.1g} wrong bits to be expected in an evaluation",
        f"checked   {record['wrong_bits']} wrong bits on {record['checked']:,} inputs, {record['ms_per_cell']:.2g} ms "
        f"a {'table' if record['hidden_tables'] else 'gate'}",
    ]
    if "network" in record:
        lines.append(f"written   {record['network']}, which may be given away, and {record['key']}, which may not")
    return "\n".join(lines)
