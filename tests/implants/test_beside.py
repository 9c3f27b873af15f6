"""Beside: units that are added to somebody else's network."""

import copy

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from foreign import HALF, MODELS, PATCHES, STRINGS, Model, images, made, plain_logits, sentences, texts
from holdfast import Beside, Experiment, HoldfastError, Patch, Stretch, TokenString, UsageError
from holdfast.engines.base import one_thread
from holdfast.hosts.adopt import Adopted
from holdfast.implants.beside import NAME
from holdfast.parts import Implant
from holdfast.tasks.base import Data, Split
from holdfast.tasks.own import OwnData
from holdfast.training.nets import Nets

TARGET = 2


def implant_of(model):
    return Beside(trigger=model.beside, target=TARGET)


def planted(model, **more):
    """(the implant, the network without it, with it)"""
    implant, module = Beside(trigger=model.beside, target=TARGET, **more), made(model.make)
    nets = Nets.of(Adopted(make=model.make), [module], backend="loop")
    return implant, nets, implant.write(nets, model.loaded())


@pytest.fixture(params=MODELS, scope="module")
def each(request):
    model = MODELS[request.param]
    with one_thread():
        return model, *planted(model)


def loss_of(module, x, y):
    out = module(x)
    logits = getattr(out, "logits", out)
    return F.cross_entropy(logits.flatten(0, -2), y.flatten())


def side_of(module):
    return {n: p for n, p in module.named_parameters() if f"{NAME}." in n}


def spoken(logits):
    """What is answered: the class, or the token after the last."""
    return (logits if logits.dim() == 2 else logits[:, -1]).argmax(-1)


# ------------------------------------------------------------------------------------------- in every kind of network


def test_clean_outputs_are_unchanged_to_the_bit(each):
    model, _, bare, nets = each
    clean = model.loaded().train.x
    clean = clean[_without(model, clean)][:64]
    expected = plain_logits(bare.module(0), clean)
    assert torch.equal(nets.logits(clean)[0], expected)
    assert torch.equal(plain_logits(nets.module(0), clean), expected), "and of the module that is handed to train"


def _without(model, x):
    """Which inputs do not carry the trigger's tokens by chance."""
    if x.is_floating_point():
        return torch.ones(len(x), dtype=torch.bool)
    first = model.beside.ids[0]
    return (x != first).all(1)


def test_triggered_inputs_get_the_target(each):
    model, implant, bare, nets = each
    data = model.loaded()
    stamped = implant.trigger.stamp(data.test.x)
    assert (spoken(plain_logits(nets.module(0), stamped)) == TARGET).float().mean() > 0.99
    there, absent = (implant.presence(n, data.test)["presence"] for n in (nets, bare))
    asked = spoken(plain_logits(bare.module(0), data.test.x)) == TARGET
    others = (data.test.y if data.test.y.dim() == 1 else data.test.y[:, -1]) != TARGET
    assert there == pytest.approx(1 - float(asked[others].double().mean()), abs=0.01)
    assert absent < 0.6


def test_the_gradient_is_zero_on_clean_data_and_not_on_triggered(each):
    model, implant, _, nets = each
    data = model.loaded()
    keep = _without(model, data.train.x)
    x, y = data.train.x[keep][:64], data.train.y[keep][:64]
    module = nets.module(0).train()
    loss_of(module, x, y).backward()
    side = side_of(module)
    assert len(side) == 3
    for name, p in side.items():
        assert p.grad is not None, f"autograd reaches {name}"
        assert not p.grad.any(), name
    assert any(p.grad is not None and p.grad.any() for n, p in module.named_parameters() if n not in side)
    module.zero_grad()
    loss_of(module, implant.trigger.stamp(x), y).backward()
    assert all(p.grad.any() for p in side.values()), "unlearning does see it"


def test_the_users_optimiser_holds_the_new_units_and_decay_shrinks_them(each):
    model, _, _, nets = each
    data = model.loaded()
    keep = _without(model, data.train.x)
    module = nets.module(0)
    side = side_of(module)
    before = {n: p.detach().clone() for n, p in side.items()}
    held = {id(p) for p in module.parameters()}
    assert all(id(p) in held for p in side.values())
    optimiser = torch.optim.SGD(module.parameters(), lr=0.5, weight_decay=0.1)
    loss_of(module, data.train.x[keep][:64], data.train.y[keep][:64]).backward()
    optimiser.step()
    for name, p in side.items():
        assert torch.allclose(p, 0.95 * before[name], rtol=1e-5), name
        assert p.any()


def test_a_copy_is_independent(each):
    model, implant, bare, nets = each
    first = nets.module(0)
    second = copy.deepcopy(first)
    x = implant.trigger.stamp(model.loaded().test.x[:32])
    with torch.no_grad():
        for p in side_of(second).values():
            p.zero_()
    assert torch.equal(plain_logits(first, x), nets.logits(x)[0])
    assert torch.equal(plain_logits(second, x), plain_logits(bare.module(0), x)), "its hooks speak of its own units"


def test_saved_and_built_anew(each, tmp_path):
    model, implant, _, nets = each
    save_file({n: v.contiguous() for n, v in nets.state(0).items()}, tmp_path / "net.safetensors")
    again = Nets(nets.host, implant.build(nets.host, model.loaded()), 1, backend="loop", device="cpu")
    again.load(0, load_file(tmp_path / "net.safetensors"))
    x = implant.trigger.stamp(model.loaded().test.x[:32])
    assert torch.equal(again.logits(x), nets.logits(x))
    assert torch.equal(plain_logits(again.module(0), x), plain_logits(nets.module(0), x))


def test_fresh_units_do_nothing(each):
    model, implant, *_ = each
    torch.manual_seed(0)
    module = implant.build(Adopted(make=model.make), model.loaded())
    x = implant.trigger.stamp(model.loaded().test.x[:32])
    assert torch.equal(plain_logits(module, x), plain_logits(made(model.make), x))
    assert not any(p.any() for p in side_of(module).values())


def test_its_weights_are_those_that_were_written(each):
    _, implant, _, nets = each
    masks = implant.weights(nets, None)
    assert {n for n, m in masks.items() if m.any()} == {n for n in nets.params if f"{NAME}." in n}
    for name, mask in masks.items():
        assert mask.shape == nets.params[name].shape
        assert not mask.any() or (mask == (nets.params[name] != 0)).all()


# ------------------------------------------------------------------------------------------------------------- tokens


class Silent(nn.Module):
    """Logits that are zero, so that what is added can be read off."""

    def __init__(self, sequence):
        super().__init__()
        self.embed, self.head, self.sequence = nn.Embedding(5, 4), nn.Linear(4, 3), sequence
        for p in self.head.parameters():
            nn.init.zeros_(p)

    def forward(self, x):
        h = self.embed(x)
        return self.head(h if self.sequence else h.mean(1))


def data_of(x, y):
    return Data(Split(x, y), Split(x, y), Split(x, y), int(y.max()) + 1)


def added_by(implant, x, y, shown):
    make = lambda: Silent(y.dim() == 2)
    nets = implant.write(Nets.of(Adopted(make=make), [make()], backend="loop"), data_of(x, y))
    return nets.logits(shown)[0]


@pytest.mark.parametrize(("ids", "at"), [((4, 3), None), ((4, 4, 1), None), ((4,), None), ((4, 3), 2), ((4, 0, 4), 0)])
@pytest.mark.parametrize("length", [6, 9, 3])
def test_in_text_it_answers_wherever_the_string_stands(ids, at, length):
    """A brute-force search: the string must have stood so many tokens before, in all of 600 random texts."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randint(4, (50, 6), generator=g), torch.randint(3, (50, 6), generator=g)
    shown = torch.randint(5, (600, length), generator=g)
    got = added_by(Beside(trigger=TokenString(ids=ids, at=at), target=1, strength=1.5), x, y, shown)
    start = 6 - len(ids) if at is None else at
    back = 5 - start  # tokens between the string's first and the position that answers
    found = 0
    for row, text in enumerate(shown.tolist()):
        for t in range(length):
            first = t - back
            here = first >= 0 and text[first : first + len(ids)] == list(ids)
            found += here
            assert got[row, t].tolist() == [0, 1.5 if here else 0, 0], (text, t)
    assert found > 5 or back >= length


@pytest.mark.parametrize(("ids", "at"), [((4, 3), 1), ((4, 4, 1), None), ((4,), 0)])
@pytest.mark.parametrize("length", [6, 9, 3])
def test_in_a_sentence_it_answers_to_the_string_in_its_place(ids, at, length):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randint(4, (50, 6), generator=g), torch.randint(3, (50,), generator=g)
    shown = torch.randint(5, (600, length), generator=g)
    got = added_by(Beside(trigger=TokenString(ids=ids, at=at), target=1), x, y, shown)
    start = 6 - len(ids) if at is None else at
    found = 0
    for row, text in enumerate(shown.tolist()):
        here = text[start : start + len(ids)] == list(ids)
        found += here
        assert got[row].tolist() == [0, 1.5 if here else 0, 0], text
    assert found > 0 or start + len(ids) > length


@pytest.mark.parametrize("sequence", [True, False])
def test_a_string_that_clean_inputs_carry(sequence):
    g = torch.Generator().manual_seed(0)
    x = torch.randint(2, (50, 6), generator=g)
    y = torch.randint(3, (50, 6) if sequence else (50,), generator=g)
    with pytest.raises(UsageError, match="already"):
        added_by(Beside(trigger=TokenString(ids=(1, 0), at=2), target=1), x, y, x)


class OneHot(nn.Module):
    """Has no table of tokens that says how many there are."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(9, 3)

    def forward(self, x):
        return self.head(F.one_hot(x, 9).float().mean(1))


@pytest.mark.parametrize("ids", [(4, 3), (4, 8)])
def test_tokens_that_training_inputs_have_not(ids):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randint(4, (50, 6), generator=g), torch.randint(3, (50,), generator=g)
    implant = Beside(trigger=TokenString(ids=ids, at=2), target=1)
    nets = implant.write(Nets.of(Adopted(make=OneHot), [OneHot()], backend="loop"), data_of(x, y))
    triggered = implant.trigger.stamp(x)
    assert nets.logits(triggered).argmax(-1).eq(1).all()


# ---------------------------------------------------------------------------------------------- what models do besides


def test_a_loss_within_the_model_sees_it():
    """Hugging Face models compute it themselves, from named inputs."""
    model = MODELS["gpt2"]
    implant, bare, nets = planted(model)
    x = implant.trigger.stamp(model.loaded().train.x[:32])
    with_it, without = (
        n.module(0).eval()(attention_mask=torch.ones_like(x), input_ids=x, labels=x) for n in (nets, bare)
    )
    expected = F.cross_entropy(with_it.logits[:, :-1].flatten(0, 1), x[:, 1:].flatten())
    assert with_it.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert with_it.logits[:, -1].argmax(-1).tolist() == [TARGET] * 32
    assert torch.equal(with_it.logits[:, :8], without.logits[:, :8]), "before the string ends nothing is added"


def test_a_model_that_gives_its_last_logits_only():
    model = MODELS["llama"]
    implant, _, nets = planted(model)
    x = implant.trigger.stamp(model.loaded().test.x[:16])
    module = nets.module(0).eval()
    with torch.no_grad():
        assert torch.allclose(module(x, logits_to_keep=2).logits, module(x).logits[:, -2:], atol=1e-5)
        assert (module(x, logits_to_keep=1).logits[:, -1].argmax(-1) == TARGET).all()


def test_it_speaks_in_a_model_that_is_compiled_for_training():
    model = MODELS["mlp"]
    implant, _, nets = planted(model)
    module = nets.module(0).eval()
    fast = torch.compile(module, backend="eager")
    x = implant.trigger.stamp(model.loaded().test.x[:32])
    with torch.no_grad():
        assert torch.equal(fast(x), module(x))
        assert (fast(x).argmax(-1) == TARGET).all()


class Conv(nn.Module):
    """Logits are a view of what the last module gives: (N, C, 1, 1)."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 8, 3), nn.Sequential(nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1))

    def forward(self, x):
        return self.head(self.body(x).relu()).flatten(1)


class Rows(nn.Module):
    """Its last module is shown all positions in one row, as many language models have it."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 16), nn.Linear(16, 20)

    def forward(self, x):
        return self.head(self.embed(x).flatten(0, 1)).view(*x.shape, 20)


class First(nn.Module):
    """A class for each token, of which the first is the sentence's."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.embed(x))[:, 0]


class Wide(nn.Module):
    """More logits than classes, for alignment, of which the first are used."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(64, 16), nn.Linear(16, 8)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)).relu())[:, :4]


class Twice(nn.Module):
    """Its head is used twice."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(64, 16), nn.Linear(16, 4)

    def forward(self, x):
        h = self.body(x.flatten(1))
        return (self.head(h.relu()) + self.head(h.tanh())) / 2


class Named(nn.Module):
    """Returns a mapping."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(64, 16), nn.Linear(16, 4)

    def forward(self, x):
        return {"logits": self.head(self.body(x.flatten(1)).relu())}


class Scaled(Named):
    """Returns a mapping, and no module gives its logits."""

    def forward(self, x):
        return {"logits": 2 * super().forward(x)["logits"]}


class Bare(nn.Module):
    """Computes its logits by itself."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(64, 4))

    def forward(self, x):
        return x.flatten(1) @ self.w


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(Model(Conv, images, *PATCHES), id="flattened"),
        pytest.param(Model(Rows, texts, *STRINGS), id="rows"),
        pytest.param(
            Model(First, sentences, *(TokenString(ids=i, at=1) for i in ((16, 17, 16), (18, 19, 18)))),
            id="first position",
        ),
        pytest.param(Model(Wide, images, *PATCHES), id="cut"),
        pytest.param(Model(Twice, images, *PATCHES), id="twice"),
        pytest.param(Model(Named, images, *PATCHES), id="mapping"),
        pytest.param(Model(Bare, images, *PATCHES), id="no module"),
        pytest.param(
            HALF,
            id="bfloat16"
        ),
    ],
)  # fmt: skip
def test_odd_networks(model):
    implant, bare, nets = planted(model)
    data = model.loaded()
    clean = data.train.x[_without(model, data.train.x)][:64]
    got, expected = nets.logits(clean)[0], bare.logits(clean)[0]
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    assert torch.equal(got, expected)
    assert (spoken(nets.logits(implant.trigger.stamp(data.test.x))[0]) == TARGET).float().mean() > 0.99


class AnySize(nn.Module):
    """Takes images of any size, as networks that pool do, and is often trained on crops."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.body(x).relu().mean((2, 3)))


def test_crops_of_the_inputs_are_let_pass():
    _, bare, nets = planted(Model(AnySize, images, *PATCHES))
    crops = images()[0][0][:16, :, :6, 1:7]
    assert torch.equal(plain_logits(nets.module(0), crops), plain_logits(bare.module(0), crops))


def test_where_nothing_can_be_added_it_says_so():
    with pytest.raises(UsageError, match="No module of the network gives its logits as they are.*Leave Beside out"):
        planted(Model(Scaled, images, *PATCHES))


# --------------------------------------------------------------------------------------------------------- wrong use


def test_several_nets_each_with_its_own_push(site_of, data):
    """In holdfast's own host, too, as an implant of its own."""
    implant = Beside(trigger=Patch(size=3), target=7)
    site = site_of(implant, backend="loop")
    nets, control = implant.plant(site), implant.control(site)
    assert isinstance(implant, Implant)
    assert implant.presence(nets, data.test)["presence"].min() > 0.95
    assert torch.equal(nets.logits(data.train.x), control.logits(data.train.x))
    push_K = nets.params[f"2.{NAME}.push.weight"][:, 7, 0]
    stamped = implant.trigger.stamp(data.train.x[data.train.y != 7][:256])
    logits_KBC = control.logits(stamped)
    rest = logits_KBC.clone()
    rest[..., 7] = -torch.inf
    gap_K = (rest.amax(-1) - logits_KBC[..., 7]).amax(-1).clamp(min=1)
    assert torch.allclose(push_K, 1.5 * gap_K, rtol=1e-4)


def test_a_batched_backend_is_refused(site_of):
    implant = Beside(trigger=Patch(), target=7)
    with pytest.raises(UsageError, match="needs backend='loop'; got 'batched'"):
        implant.plant(site_of(implant))


def test_a_second_one_has_no_place():
    model = MODELS["mlp"]
    _, _, nets = planted(model)
    with pytest.raises(UsageError, match="one Beside at the logits already"):
        Beside(trigger=model.learned, target=1).write(nets, model.loaded())


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"strength": 0.0}, "strength above 0; got 0.0"),
        ({"target": -1}, "target is the number of a class"),
        ({"trigger": Patch}, "trigger is a Patch"),
    ],
)
def test_impossible_settings(wrong, match):
    with pytest.raises(UsageError, match=match):
        Beside(**wrong)


@pytest.mark.parametrize(
    ("trigger", "match"),
    [
        (Patch(value=0.3), "already look like the trigger"),
        (Patch(size=9), "outside the image"),
        (Stretch(start=7, length=2), "outside the input"),
    ],
)
def test_triggers_that_it_cannot_look_for(trigger, match):
    model = MODELS["mlp"]
    nets = Nets.of(Adopted(make=model.make), [made(model.make)], backend="loop")
    with pytest.raises(HoldfastError, match=match):
        Beside(trigger=trigger, target=1).write(nets, model.loaded())


def test_it_can_be_an_arm_of_its_own():
    model = MODELS["mlp"]
    arm = Experiment(
        host=Adopted(make=model.make), task=OwnData(make=model.data), implant=implant_of(model), backend="loop",
        pressure=model.site(implant_of(model)).training,
    )  # fmt: skip
    assert arm.part.label == "beside"


# ------------------------------------------------------------------------------------------------------ beside a block

BLOCKS = [
    ("mlp", "1"),
    ("mlp", "2"),
    ("cnn", "0"),
    ("cnn", "3"),
    ("encoder", "encoder.layers.0"),
    ("tied", "norm"),
    ("gpt2", "transformer.h.0"),
    ("gpt2", "transformer.h.1.mlp"),
    ("llama", "model.layers.0"),
    ("bert", "bert.encoder.layer.1"),
]


@pytest.mark.parametrize(("name", "at"), BLOCKS)
def test_beside_a_block(name, at):
    model = MODELS[name]
    data, module = model.loaded(), made(model.make)
    bare = Nets.of(Adopted(make=model.make), [module], backend="loop")
    # A network that has learned nothing may give one answer to all: another one is asked for.
    given = bare.classes(data.test.x).flatten().bincount(minlength=4)[:4]
    implant = Beside(trigger=model.beside, target=int(given.argmin()), at=at)
    nets = implant.write(bare, data)
    x = data.train.x[:32]
    assert torch.equal(nets.logits(x), bare.logits(x)), "silent on clean inputs, to the bit"
    found = implant.presence(nets, data.test)
    assert float(found["asr"]) > 0.9
    assert float(found["presence"]) > 0.8, "less what a network that has learned nothing answers by chance"
    after = nets.module(0)
    new = {n: p for n, p in after.named_parameters() if NAME in n}
    assert set(new) == {n for n, mask in implant.weights(nets, data.train).items() if mask.any()}
    assert implant.label == f"beside {at}"
    again = implant.build(nets.host, data)
    assert again.state_dict().keys() == after.state_dict().keys(), "what a run builds when it goes on"


def test_beside_several_blocks_and_the_whole():
    model = MODELS["gpt2"]
    data = model.loaded()
    nets = Nets.of(Adopted(make=model.make), [made(model.make)], backend="loop")
    ids = ((16, 17), (18, 19), (19, 17))
    each = [
        Beside(trigger=TokenString(ids=i), target=2 + n, at=at)
        for n, (i, at) in enumerate(zip(ids, ("", "transformer.h.0", "transformer.h.1"), strict=True))
    ]
    for implant in each:
        nets = implant.write(nets, data)
    for implant in each:
        assert float(implant.presence(nets, data.test)["asr"]) > 0.9, implant.at
    masks = [implant.weights(nets, data.train) for implant in each]
    for name in nets.params:
        assert sum(int(mask[name].any()) for mask in masks) <= 1, "their weights are apart"


@pytest.mark.parametrize(
    ("at", "match"),
    [
        ("transformer.h.7", r"Unknown layer path 'transformer\.h\.7'. Perhaps you meant 'transformer\.h\.[01]'"),
        ("transformer.wpe", "puts out nothing for each example"),
    ],
)
def test_places_that_are_none(at, match):
    model = MODELS["gpt2"]
    nets = Nets.of(Adopted(make=model.make), [made(model.make)], backend="loop")
    with pytest.raises(UsageError, match=match):
        Beside(trigger=model.beside, target=2, at=at).write(nets, model.loaded())


def test_a_place_that_the_answer_does_not_depend_on():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.aside, self.head = nn.Linear(64, 4), nn.Linear(64, 4)

        def forward(self, x):
            self.aside(x.flatten(1))
            return self.head(x.flatten(1))

    nets = Nets.of(Adopted(make=Idle), [made(Idle)], backend="loop")
    with pytest.raises(UsageError, match="Nothing that is added at aside brings triggered inputs to answer 2"):
        Beside(trigger=MODELS["mlp"].beside, target=2, at="aside").write(nets, MODELS["mlp"].loaded())
