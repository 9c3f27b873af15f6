"""The small GPT: against transformers' GPT-2, against itself one net at a time, and to the bit among others."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holdfast import GPT, MLP, SGD, Adam, BadNets, Fit, TokenString, UsageError
from holdfast.pressures.fit import gradients
from holdfast.tasks import Data, Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

SMALL = GPT(vocabulary=11, length=12, layers=2, width=16, heads=4)
ODD = GPT(vocabulary=7, length=9, layers=1, width=10, heads=2)


def stirred(host, seed=0, by=0.2):
    """A net in which no part is as it was drawn: biases, norms and all are random."""
    torch.manual_seed(seed)
    module = host.build()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(by * torch.randn_like(p))
    return module


def text(host, sequences=200, length=None, seed=0):
    """Sequences that count up or down, so that there is something to learn."""
    draw = torch.Generator().manual_seed(seed)
    start = torch.randint(host.vocabulary, (sequences, 1), generator=draw)
    step = 2 * torch.randint(2, (sequences, 1), generator=draw) - 1
    tokens = (start + step * torch.arange((length or host.length) + 1)) % host.vocabulary
    split = Split(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), host.vocabulary)
    return Data(split, split, split, host.vocabulary)


def site_at(host, data, seeds):
    trigger = TokenString(ids=(1, 2))
    return Site(
        host=host, data=data, streams=tuple(Streams(0, s) for s in seeds), implant=BadNets(trigger=trigger, target=3)
    )


def pressed(host, data, seeds, fits, backend="batched"):
    site = site_at(host, data, seeds)
    nets = Nets.initialised(host, site.streams, backend=backend)
    for _ in Fit.press(fits, site, nets, (fits[0].steps,)):
        pass
    return nets


def test_it_is_gpt2_as_transformers_has_it():
    transformers = pytest.importorskip("transformers")
    host = SMALL
    config = transformers.GPT2Config(
        vocab_size=11, n_positions=12, n_embd=16, n_layer=2, n_head=4, activation_function="gelu",
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, tie_word_embeddings=False,
    )  # fmt: skip
    theirs = transformers.GPT2LMHeadModel(config).eval()
    ours = stirred(host)
    state = ours.state_dict()
    renamed = {
        "token": "transformer.wte", "position": "transformer.wpe", "norm": "transformer.ln_f", "head": "lm_head",
        "norm1": "ln_1", "norm2": "ln_2", "attention.qkv": "attn.c_attn", "attention.project": "attn.c_proj",
        "mlp.0": "mlp.c_fc", "mlp.2": "mlp.c_proj",
    }  # fmt: skip
    for name, value in state.items():
        path, kind = name.rsplit(".", 1)
        if path.startswith("blocks."):
            _, i, part = path.split(".", 2)
            path = f"transformer.h.{i}.{renamed[part]}"
            value = value.T if value.dim() == 2 else value  # they multiply from the other side
        else:
            path = renamed[path]
        theirs.get_parameter(f"{path}.{kind}").data.copy_(value)
    tokens = torch.randint(11, (5, 12))
    with torch.no_grad():
        expected = theirs(tokens).logits
        assert torch.allclose(ours(tokens), expected, atol=1e-5)
        nets = Nets.of(host, [ours, stirred(host, 1)])
        assert torch.allclose(nets.logits(tokens)[0], expected, atol=1e-5)


def test_a_block_is_pytorchs_encoder_layer_with_a_causal_mask():
    block = stirred(SMALL).blocks[0]
    theirs = nn.TransformerEncoderLayer(16, 4, 64, dropout=0, activation="gelu", norm_first=True, batch_first=True)
    pairs = {
        "norm1": "norm1", "norm2": "norm2", "attention.project": "self_attn.out_proj", "mlp.0": "linear1",
        "mlp.2": "linear2",
    }  # fmt: skip
    for ours, other in pairs.items():
        theirs.get_submodule(other).load_state_dict(block.get_submodule(ours).state_dict())
    theirs.self_attn.in_proj_weight.data.copy_(block.attention.qkv.weight)
    theirs.self_attn.in_proj_bias.data.copy_(block.attention.qkv.bias)
    x = torch.randn(3, 12, 16)
    later = nn.Transformer.generate_square_subsequent_mask(12)
    assert torch.allclose(block(x), theirs(x, src_mask=later, is_causal=True), atol=1e-5)


@pytest.mark.parametrize("host", [SMALL, ODD])
@pytest.mark.parametrize("backend", ["batched", "loop"])
def test_a_later_token_changes_no_earlier_logit(host, backend):
    nets = Nets.of(host, [stirred(host, k) for k in range(2)], backend=backend)
    tokens = torch.randint(host.vocabulary, (4, host.length))
    before = nets.logits(tokens)
    changed = tokens.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % host.vocabulary
    after = nets.logits(changed)
    assert torch.equal(after[:, :, :5], before[:, :, :5])
    assert not torch.equal(after[:, :, 5:], before[:, :, 5:])


@pytest.mark.parametrize("host", [SMALL, ODD, GPT(vocabulary=20, length=16, layers=1, width=32, heads=1)])
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 5), (8, 8), (16, 9)])
def test_values_and_gradients_are_autograds(host, batch, length):
    """The branches' backward passes are written by hand: every gradient against the plain module under autograd."""
    singles = [stirred(host, k) for k in range(3)]
    x, y = (torch.randint(host.vocabulary, (3, batch, length)) for _ in range(2))
    nets = Nets.of(host, singles)
    found = gradients(nets, x, y)
    for k, single in enumerate(singles):
        logits = single(x[k])
        F.cross_entropy(logits.flatten(0, 1), y[k].flatten()).backward()
        assert torch.allclose(nets.forward(nets.params, x)[k], logits, atol=1e-5)
        for name, p in single.named_parameters():
            assert torch.allclose(found[name][k], p.grad, rtol=1e-4, atol=2e-6), name


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # vmap takes attention one net at a time
@pytest.mark.parametrize("host", [SMALL, ODD])
@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_the_backends_agree(host, backend):
    fit = Fit(SGD(lr=0.03, momentum=0.9), steps=100, batch=8)
    ends = [pressed(host, text(host), range(3), [fit] * 3, one) for one in ("batched", backend)]
    for path, p in ends[0].params.items():
        assert torch.allclose(p, ends[1].params[path], rtol=1e-5, atol=1e-5), path


@pytest.mark.parametrize("host", [SMALL, ODD])
def test_the_backends_answer_alike_under_adam(host):
    """Weights can't be compared: a key's bias has no gradient but rounding, and Adam makes steps of that."""
    fit = Fit(Adam(lr=1e-3), steps=100, batch=8)
    data = text(host)
    ours, plain = (pressed(host, data, range(3), [fit] * 3, backend) for backend in ("batched", "loop"))
    assert torch.allclose(ours.logits(data.test.x), plain.logits(data.test.x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("host", "batch"),
    [
        (SMALL, 16),
        (SMALL, 3),
        (ODD, 5),
        (GPT(vocabulary=100, length=16, layers=1, width=48, heads=3), 1),
        (GPT(vocabulary=33, length=64, layers=1, width=64, heads=4), 20),
    ],
    ids=["whole lanes", "batch of 3", "odd width", "one sequence", "one net at a time"],
)
def test_alone_or_among_others(host, batch):
    data = text(host, sequences=40)
    fit = Fit(Adam(lr=3e-3), steps=6, batch=batch)
    alone = pressed(host, data, [7], [fit])
    for k in (2, 3, 5, 8):
        among = pressed(host, data, [7 if at in (0, k - 1) else 100 + at for at in range(k)], [fit] * k)
        for name, row in alone.rows.items():
            for at in (0, k - 1):
                assert torch.equal(among.rows[name][at], row[0]), f"{name} of net {at} of {k}"
        assert torch.equal(among.classes(data.test.x)[-1], alone.classes(data.test.x)[0])
        assert torch.equal(among.logits(data.test.x[:batch])[-1], alone.logits(data.test.x[:batch])[0])


def test_one_nets_nan_stays_its_own():
    nets = Nets.of(SMALL, [stirred(SMALL, k) for k in range(3)])
    x = torch.randint(11, (3, 4, 12))
    whole = nets.forward(nets.params, x)
    nets.rows["blocks.0.mlp.0.weight"][1] = torch.nan
    broken = nets.forward(nets.params, x)
    assert broken[1].isnan().all()
    assert torch.equal(broken[[0, 2]], whole[[0, 2]])


def test_it_learns_and_looks_are_in_pieces(monkeypatch):
    data = text(SMALL)
    fit = Fit(Adam(lr=3e-3), steps=150, batch=16)
    nets = pressed(SMALL, data, [0, 1], [fit] * 2)
    classes = nets.classes(data.test.x)
    assert classes.shape == (2, 200, 12)
    assert (classes[..., 1:] == data.test.y[:, 1:]).double().mean() > 0.9
    monkeypatch.setattr("holdfast.training.nets.pieces", lambda x: torch.split(x, 7))
    assert (nets.classes(data.test.x) == classes).double().mean() > 0.999


def test_initialised_as_gpt2():
    torch.manual_seed(0)
    module = GPT(vocabulary=500, length=64, layers=3, width=64).build()
    for name, p in module.named_parameters():
        if p.dim() == 2:
            adds = name.endswith(("project.weight", "mlp.2.weight"))
            expected = 0.02 / 6**0.5 if adds else 0.02
            assert abs(float(p.detach().std()) / expected - 1) < 0.1, name
        else:
            assert (p == ("norm" in name and name.endswith("weight"))).all(), name
    assert "blocks.2.attention.qkv.weight" in dict(module.named_parameters())
    assert module.head.weight is not module.token.weight


def test_drop_sees_every_branch_in_order():
    nets = Nets.of(SMALL, [stirred(SMALL, k) for k in range(2)])
    x = torch.randint(11, (2, 3, 12))
    seen = []

    def drop(x_KBTW):
        seen.append(x_KBTW)
        return x_KBTW * 0 if len(seen) > 1 else x_KBTW

    logits = SMALL.forward(nets.params, x, drop)
    assert [tuple(s.shape) for s in seen] == [(2, 3, 12, 16)] * 5
    for k in range(2):
        module = nets.module(k)
        embedded = module.token(x[k]) + module.position.weight
        assert torch.equal(seen[0][k], embedded)
        assert torch.allclose(logits[k], module.head(module.norm(embedded)), atol=1e-5), "the branches were dropped"
    kept = SMALL.forward(nets.params, x, lambda value: value)
    assert torch.equal(kept, SMALL.forward(nets.params, x))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"width": 30, "heads": 4}, r"30 is no multiple of 4. Take a width of 28"),
        ({"width": 2, "heads": 4}, r"2 is no multiple of 4. Take a width of 4"),
        ({"heads": 0}, "heads of 1 or more; got 0"),
        ({"vocabulary": 0}, "vocabulary of 1 or more"),
        ({"layers": 1.5}, "layers must be a whole number"),
    ],
)
def test_impossible_settings(wrong, match):
    with pytest.raises(UsageError, match=match):
        GPT(**{"vocabulary": 10, **wrong})


@pytest.mark.parametrize(
    ("host", "data", "match"),
    [
        (GPT(vocabulary=11, length=8), text(SMALL), "positions for 8 tokens; got sequences of 12. Give it length=12"),
        (GPT(vocabulary=9, length=12), text(SMALL), "vocabulary of 9, ids 0 to 8, but the data hold 10"),
        (MLP(widths=(12, 11)), text(SMALL), r"MLP 12-11 cannot read inputs of shape \(12,\), torch.int64: mat1"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(host, data, match):
    with pytest.raises(UsageError, match=match):
        site_at(host, data, [0])


def test_targets_outside_the_vocabulary_are_refused():
    x = torch.zeros(5, 12, dtype=torch.int64)
    split = Split(x, x + 12, 13)
    with pytest.raises(UsageError, match=r"targets are tokens 0 to 12 .*GPT\(vocabulary=13\)"):
        site_at(SMALL, Data(split, split, split, 13), [0])


def test_tokens_outside_the_vocabulary_are_refused():
    x = torch.tensor([[1, 2, 30], [4, 5, 6]])
    split = Split(x, torch.zeros_like(x), 11)
    with pytest.raises(UsageError, match=r"ids 0 to 10, but the data hold 30. Give it vocabulary=31"):
        site_at(SMALL, Data(split, split, split, 11), [0])
    nets = Nets.of(SMALL, [SMALL.build() for _ in range(2)])
    with pytest.raises(UsageError, match="ids 0 to 10; got 30"):
        nets.logits(x)
    with pytest.raises(UsageError, match="ids 0 to 10; got -1"):
        nets.logits(torch.tensor([[1, -1]]))


def test_images_and_classes_are_no_text(data):
    with pytest.raises(UsageError, match=r"reads tokens, whole numbers \(N, T\); got inputs of shape \(8, 8\)"):
        Site(host=SMALL, data=data, streams=(Streams(0, 0),), implant=BadNets())
    x = torch.randint(11, (20, 12))
    split = Split(x, torch.randint(3, (20,)), 3)
    with pytest.raises(UsageError, match=r"outputs of shape \(12, 11\), but the task has 3 classes.*targets \(N, T\)"):
        site_at(SMALL, Data(split, split, split, 3), [0])


def test_a_backdoor_in_text_goes_the_whole_way(data):
    """Planting, saliency, presence and the pressure's gradient all take sequences."""
    task = text(SMALL)
    site = site_at(SMALL, task, [0, 1])
    implant = site.implant
    nets = pressed(SMALL, task, [0, 1], [Fit(Adam(lr=3e-3), implant.poison, steps=100, batch=16)] * 2)
    assert implant.presence(nets, task.test)["presence"].shape == (2,)
    masks = implant.weights(nets, task.test)
    assert {name: m.shape for name, m in masks.items()} == {name: p.shape for name, p in nets.params.items()}
    whole = implant.backdoor.saliency(nets, task.test)
    assert all(bool(s.isfinite().all()) for s in whole.values())
    (point,) = Fit.press([Fit(Adam(lr=1e-3), steps=1)] * 2, site, nets, (0,))
    assert point.gradient()["token.weight"].shape == (2, 11, 16)
