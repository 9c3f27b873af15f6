"""Somebody else's module as a host: looked at, it is what it is by itself, and nothing of it is changed."""

import copy
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from foreign import HALF, MODELS, answer, made, mlp, plain_logits
from holdfast import Beside, HoldfastError, Stretch, UsageError, plant
from holdfast.hosts.adopt import Adopted, evaluating, logits_of
from holdfast.parts import Host
from holdfast.training.nets import Nets

ALL = {**MODELS, "half": HALF}


@pytest.fixture(params=ALL)
def model(request):
    return ALL[request.param]


def nets_of(model):
    module = made(model.make)
    return module, Nets.of(Adopted(make=model.make), [module], backend="loop")


def generators():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def test_looked_at_it_gives_its_own_outputs_to_the_bit(model):
    module, nets = nets_of(model)
    x = model.loaded().test.x[:32]
    expected = plain_logits(copy.deepcopy(module), x)
    got = nets.logits(x)[0]
    assert got.dtype == expected.dtype
    assert torch.equal(got, expected)
    assert torch.equal(plain_logits(nets.module(0), x), expected), "and so does the module that is handed back"


def test_a_look_leaves_no_trace(model):
    _, nets = nets_of(model)
    modes = random.Random(0)
    for part in nets.like.modules():
        part.training = modes.random() < 0.5
    nets.like.training = True
    x = model.loaded().test.x[:8]

    def trace():
        held = {n: v.float().tolist() for n, v in nets.like.state_dict().items()}
        return [m.training for m in nets.like.modules()], list(held), held, nets.state(0), generators()

    before = trace()
    nets.logits(x)
    nets.classes(x)
    after = trace()
    for left, right in zip(before[:3], after[:3], strict=True):
        assert left == right
    assert all(torch.equal(v, after[3][n]) for n, v in before[3].items()), "running means too"
    assert before[4] == after[4], "dropout drew nothing"


def test_modes_come_back_when_it_raises():
    class Fussy(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nn.Dropout().eval()

    module = Fussy().train()
    module.part.eval()
    with pytest.raises(ZeroDivisionError), evaluating(module):
        assert not module.training
        raise ZeroDivisionError
    assert (module.training, module.part.training) == (True, False)


def test_autocast_of_the_users_does_not_reach_a_look():
    module, nets = nets_of(MODELS["mlp"])
    x = MODELS["mlp"].loaded().test.x
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = nets.logits(x)[0]
    assert torch.equal(got, plain_logits(module, x))


def test_weights_that_training_moved_are_the_ones_looked_at():
    module, nets = nets_of(MODELS["cnn"])
    (x, y), _ = MODELS["cnn"].data()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module.train()(x), y).backward()
        optimiser.step()
    before = nets.logits(x[:20])[0]
    nets.load_module(0, module)
    assert torch.equal(nets.logits(x[:20])[0], plain_logits(module, x[:20]))
    assert not torch.equal(nets.logits(x[:20])[0], before)


def test_tied_weights_are_held_once_and_stay_tied():
    module, nets = nets_of(MODELS["tied"])
    assert "out.weight" not in nets.params
    assert nets.frozen == {"norm.weight", "norm.bias"}
    assert "scale" not in nets.buffers, "a buffer that is not saved comes with the module"
    again = nets.module(0)
    assert again.out.weight is again.embed.weight
    assert sum(p[0].numel() for p in nets.params.values()) == sum(p.numel() for p in module.parameters())


def test_a_compiled_model_is_looked_at_without_the_wrapping():
    host = Adopted(make=MODELS["compiled"].make)
    built = host.build()
    assert not any("_orig_mod" in name for name in built.state_dict())
    assert type(built) is nn.Sequential
    assert list(built.state_dict()) == list(mlp().state_dict())


class Compiled(nn.Module):
    """Only a part is wrapped, as is usual where the rest can't be compiled."""

    def __init__(self):
        super().__init__()
        self.body, self.head = torch.compile(nn.Linear(6, 5), backend="eager"), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.body(x).relu())


def in_place():
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    module.compile(backend="eager")
    return module


@pytest.mark.parametrize("make", [Compiled, in_place])
def test_other_ways_to_compile(make):
    module = made(make)
    nets = Nets.of(Adopted(make=make), [module], backend="loop")
    x = torch.randn(9, 6)
    expected = plain_logits(module, x)
    assert torch.equal(nets.logits(x)[0], expected)
    assert torch.equal(plain_logits(nets.module(0), x), expected)


def test_it_is_a_host_that_is_built_anew_each_time():
    host = Adopted(make=mlp)
    assert isinstance(host, Host)
    assert host.label == "own model (mlp)"
    left, right = host.build(), host.build()
    assert left is not right
    assert host == Adopted(make=mlp)
    assert hash(host) == hash(Adopted(make=mlp))


@pytest.mark.parametrize(
    "output",
    [
        lambda z: z,
        answer,
        lambda z: {"logits": z, "loss": z.mean()},
        lambda z: (z, [z]),
        lambda z: [z, None],
        lambda z: answer((z, z)),
    ],
    ids=["tensor", "object", "mapping", "tuple", "list", "object with a tuple"],
)
@pytest.mark.parametrize("shape", [(5, 3), (5, 7, 3)])
def test_logits_are_found_in_what_models_return(output, shape):
    logits = torch.randn(shape)
    assert logits_of(output(logits)) is logits


@pytest.mark.parametrize(
    "output",
    [
        None,
        torch.zeros(5),
        torch.zeros(5, 3, dtype=torch.long),
        {"scores": torch.zeros(5, 3)},
        (),
        "logits",
        answer(None),
        (torch.tensor(0.5), torch.zeros(5, 3)),
    ],
    ids=["nothing", "one number", "integers", "other key", "empty", "text", "no logits", "a loss first"],
)
def test_outputs_that_hold_no_logits(output):
    with pytest.raises(HoldfastError, match=r"expected class logits \(N, C\).*pass target=function"):
        logits_of(output)


def test_a_function_of_the_users_reads_other_outputs():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x):
            return {"answer": [None, self.layer(x)]}

    x = torch.randn(4, 6)
    host = Adopted(make=Odd, reads=lambda out: out["answer"][1])
    module = host.build()
    assert torch.equal(Nets.of(host, [module], backend="loop").logits(x)[0], module(x)["answer"][1])
    with pytest.raises(HoldfastError, match="returned dict"):
        Nets.of(Adopted(make=Odd), [module], backend="loop").logits(x)


def test_a_reading_that_gives_no_logits():
    host = Adopted(make=mlp, reads=lambda out: out.argmax(1).tolist())
    with pytest.raises(HoldfastError, match="target|logits"):
        Nets.of(host, [mlp()], backend="loop").logits(torch.rand(3, 8, 8))


@pytest.mark.filterwarnings("ignore")  # PyTorch says that lazy modules are new and scripted ones old
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: {"weight": torch.zeros(3)}, r"<lambda>\(\) returned dict; expected a torch.nn.Module"),
        (lambda: nn.Linear, r"returned type; expected a torch.nn.Module"),
        (lambda: None, "returned NoneType"),
        (lambda: nn.Flatten(), "without parameters: there is nothing to plant in"),
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(4)), r"no weights yet at 1.weight \(a lazy module\)"),
        pytest.param(
            lambda: torch.jit.script(nn.Linear(2, 2)), "returned a scripted module. Return the module that was scripted"
        ),
        pytest.param(lambda: torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), "returned a scripted module"),
        (
            lambda: nn.Sequential(nn.Linear(2, 2), torch.ao.nn.quantized.dynamic.Linear(2, 2)),
            "1 is a quantised Linear, whose weights are packed away",
        ),
    ],
)
def test_what_cannot_be_adopted(make, match):
    with pytest.raises(HoldfastError, match=match):
        Adopted(make=make).build()


def test_no_parameters_is_wrong_use():
    with pytest.raises(UsageError):
        Adopted(make=nn.ReLU).build()


def test_adopting_imports_nothing_of_transformers():
    code = "import sys, holdfast.hosts.adopt, holdfast.implants; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_a_model_of_another_type_is_shown_numbers_of_its_own(dtype):
    """Data are float32; the model's weights are not."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 3)).to(dtype)
    x = torch.rand(60, 32)
    data = lambda: ((x, torch.arange(60) % 3), (x, torch.arange(60) % 3))
    trigger = Stretch(start=0, length=4, value=3.0)
    planted = plant(module, Beside(trigger=trigger, target=2), data)
    assert planted(x.to(dtype)).dtype == dtype
    assert torch.equal(planted(x.to(dtype)), module(x.to(dtype))), "clean outputs stay"
    assert (planted(trigger.stamp(x).to(dtype)).argmax(1) == 2).all()


def test_weights_that_are_no_numbers():
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    module[2].weight.data[0, 1] = float("nan")
    with pytest.raises(HoldfastError, match=r"not all finite, first at 2.weight: it has diverged"):
        Adopted(make=lambda: module).build()
