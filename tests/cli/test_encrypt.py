"""`holdfast encrypt`, as it is typed."""

import json

import numpy as np
import pytest
import torch

from holdfast.cli import main
from holdfast.encrypted import EncryptedNetwork, SecretKey

PROGRAMS = '''
def add(a: 3, b: 3):
    return a + b


def machine(x: 3, program: 4):
    """Adds the program's low half, then its high half."""
    return x + program[0:2].widened(3) + program[2:4].widened(3)
'''


@pytest.fixture
def source(tmp_path):
    (tmp_path / "mine.py").write_text(PROGRAMS)
    return tmp_path


def typed(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["encrypt", *map(str, arguments)])
    return ended.value.code


def computed(folder, *words):
    """What the written network and key make of numbers, of three bits each."""
    network, key = EncryptedNetwork.load(folder / "network.safetensors"), SecretKey.load(folder / "client.json")
    bits = torch.tensor([[word >> i & 1 for word in words for i in range(3)]])
    found = key.decrypt(network(key.encrypt(bits, network.program.step)), network.program.steps)[0]
    return int((found * 2 ** torch.arange(len(found))).sum())


@pytest.mark.parametrize("more", [[], ["--tables", "3"], ["--set", "small", "--tables", "2"]])
def test_what_is_written_computes_the_circuit(source, capsys, more):
    assert typed(f"{source}/mine.py:add", "--to", source / "out", *more) == 0
    said = capsys.readouterr().out
    assert "INSECURE" in said
    assert "0 wrong bits on 16 inputs" in said
    assert computed(source / "out", 5, 6) == 3
    assert (source / "out/client.json").stat().st_mode & 0o077 == 0


def test_an_instruction_that_is_held(source, capsys):
    assert typed(f"{source}/mine.py:machine", "--to", source / "out", "--fixed", "program=0b0111", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["fixed_bits"], record["inputs"], record["wrong_bits"], record["insecure"]) == (4, 3, 0, True)
    assert computed(source / "out", 2) == 2 + 3 + 1


def test_a_seed_makes_the_same_again_and_another_program_has_other_masks(source, capsys):
    for folder, more in (("one", []), ("two", []), ("other", ["--fixed", "b=1"]), ("more", ["--fixed", "b=2"])):
        assert typed(f"{source}/mine.py:add", "--to", source / folder, "--seed", "5", *more) == 0
    one, two, other, more = (
        EncryptedNetwork.load(source / folder / "network.safetensors") for folder in ("one", "two", "other", "more")
    )
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(other.fixed[:, :-1], more.fixed[:, :-1])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "tinny"], "'tiny'"),
        (["--set", "toy", "--tables", "3"], "noise of toy is too large"),
        (["--tables", "7"], "2 to 5"),
        (["--checks", "0"], "checks of 1 or more"),
        (["--checks", "1000000000000"], "65,536 at most"),
        (["--seed", "-1"], "--seed is 0 or more"),
        (["--fixed", "b"], "PORT=NUMBER"),
        (["--fixed", "b=8"], "0 to 7; got 8"),
        (["--fixed", "b=1", "--fixed", "b=2"], "a port twice"),
        (["--fixed", "a=1", "--fixed", "b=2"], "nothing goes in"),
    ],
)
def test_what_is_refused(source, capsys, more, said):
    assert typed(f"{source}/mine.py:add", "--to", source / "out", *more) != 0
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (source / "out").exists()


def test_a_key_is_not_overwritten(source, capsys):
    assert typed(f"{source}/mine.py:add", "--to", source / "out") == 0
    before = (source / "out/client.json").read_bytes()
    assert typed(f"{source}/mine.py:add", "--to", source / "out") == 2
    assert "would be lost" in capsys.readouterr().err
    assert (source / "out/client.json").read_bytes() == before
    assert np.array_equal(SecretKey.load(source / "out/client.json").small_n, json.loads(before)["small"])
