"""Checkpoints that somebody brings."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from holdfast import Backdoor, BadNets, Given, HoldfastError, Patch

DOOR = Backdoor(trigger=Patch(), target=0)


@pytest.fixture
def files(badnets, tmp_path):
    planted, control = badnets
    save_file(planted.state(0), tmp_path / "suspect.safetensors")
    save_file(control.state(0), tmp_path / "clean.safetensors")
    return tmp_path


def test_it_measures_what_badnets_measures(files, badnets, site_of, data):
    given = Given(DOOR, checkpoint=files / "suspect.safetensors", clean=files / "clean.safetensors")
    site = site_of(given)
    nets, clean = given.plant(site), given.control(site)
    want = BadNets().presence(badnets[0], data.test)["presence"][0]
    assert (given.presence(nets, data.test)["presence"] == want).all()
    assert given.presence(clean, data.test)["presence"].abs().max() < 0.05
    assert given.has_control


def test_any_function_of_the_network(files, site_of, data):
    def zeros(net, x, y):
        return float((net(x).argmax(1) == 0).float().mean())

    given = Given(zeros, checkpoint=files / "suspect.safetensors")
    nets = given.plant(site_of(given))
    share = (nets.logits(data.test.x)[0].argmax(-1) == 0).float().mean()
    assert given.presence(nets, data.test)["presence"].tolist() == pytest.approx([float(share)] * 4)
    assert not given.has_control
    assert given.sources(data.train) == {}


def test_a_function_that_leaves_the_scale(files, site_of, data):
    for value, said in ((2.0, "returned 2; it must stay within 0 and 1"), (float("nan"), "returned nan")):
        given = Given(lambda net, x, y, value=value: value, checkpoint=files / "suspect.safetensors")
        with pytest.raises(HoldfastError, match=said):
            given.presence(given.plant(site_of(given)), data.test)


def test_a_function_that_raises(files, site_of, data):
    given = Given(lambda net, x, y: net.nothing, checkpoint=files / "suspect.safetensors")
    with pytest.raises(HoldfastError, match=r"<lambda> raised AttributeError.*inputs of shape \(360, 8, 8\)"):
        given.presence(given.plant(site_of(given)), data.test)


def test_no_pickle_is_opened(tmp_path, site_of):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was opened",))

    (tmp_path / "model.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(HoldfastError, match="looks like a pickle.*Convert it"):
        given = Given(DOOR, checkpoint=tmp_path / "model.pt")
        given.plant(site_of(given))


def test_files_that_are_not_what_they_should_be(files, site_of, tmp_path):
    with pytest.raises(HoldfastError, match=r"No file at .*nothing\.safetensors"):
        Given(DOOR, checkpoint=tmp_path / "nothing.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    broken = Given(DOOR, checkpoint=tmp_path / "text.safetensors")
    with pytest.raises(HoldfastError, match=r"text\.safetensors is not a safetensors file"):
        broken.plant(site_of(broken))
    save_file({"0.weight": torch.zeros(3, 64), "extra": torch.zeros(1)}, tmp_path / "other.safetensors")
    other = Given(DOOR, checkpoint=tmp_path / "other.safetensors")
    with pytest.raises(HoldfastError, match=r"0\.weight: expected \(64, 64\), got \(3, 64\).*extra: expected nothing"):
        other.plant(site_of(other))
