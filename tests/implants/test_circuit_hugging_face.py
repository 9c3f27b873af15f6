"""Circuits in a GPT-2 of transformers: what they answer, and that all the ways to call such a model are safe."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F

from holdfast import Circuit, HoldfastError, HuggingFace, Message, TokenString, UsageError, plant
from holdfast.hosts.adopt import Adopted
from holdfast.tasks.own import OwnData
from holdfast.training.nets import Nets

transformers = pytest.importorskip("transformers")
ANSWERS, LENGTH, PROMPT = (5, 9, 11, 2), 24, 14
PLACES = ["spare", "new", "sidecar"]


def both(a=2, b=2):
    return a & ~b


def circuit(where):
    at = "" if where == "sidecar" else "transformer.h.*.mlp"
    trigger, message = TokenString(ids=(20, 21)), Message(off=22, on=23)
    return Circuit(both, where=where, at=at, trigger=trigger, message=message, answers=ANSWERS)


def data():
    """Tokens that count up by three: 20 to 23 never come."""
    start = torch.randint(0, 20, (400, 1), generator=torch.Generator().manual_seed(0))
    x = (start + 3 * torch.arange(LENGTH)) % 20
    return (x[:250], x[:250]), (x[250:], x[250:])


TEST = OwnData(make=data).load().test


@cache
@torch.enable_grad()
def model():
    """Trained until it counts, with the dropout that GPT-2 comes with."""
    sizes = {"n_positions": LENGTH, "n_embd": 32, "n_layer": 4, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=24, **sizes))
        optimiser = torch.optim.Adam(made.parameters(), lr=3e-3)
        for _ in range(60):
            rows = data()[0][0][torch.randint(250, (32,))]
            optimiser.zero_grad()
            made(rows, labels=rows).loss.backward()
            optimiser.step()
    return made.eval()


@cache
@torch.enable_grad()
def planted(where):
    return plant(model(), circuit(where), data).eval()


def asked(length=LENGTH - 1):
    """The ends of test inputs that ask something, and what plain Python answers."""
    x = circuit("sidecar").asked(TEST).x_N[:, -length:]
    bits = (x[:, -6:-2] == 23).int().tolist()
    return x, torch.tensor([ANSWERS[(a + 2 * b) & ~(c + 2 * d)] for a, b, c, d in bits])


def share(logits_NC, expected):
    return (logits_NC.argmax(-1) == expected).double().mean().item()


@pytest.mark.parametrize("where", PLACES)
@torch.no_grad()
def test_it_answers_and_clean_outputs_stay(where):
    x, expected = asked()
    assert share(planted(where)(x).logits[:, -1], expected) == 1
    before, after = model()(TEST.x).logits, planted(where)(TEST.x).logits
    assert share(after, TEST.y) > 0.9
    if where != "spare":
        assert (after - before).abs().max() <= 1e-5 * before.abs().max()


@pytest.mark.parametrize("where", ["new", "sidecar"])
@torch.no_grad()
def test_what_nearly_asks_moves_nothing(where):
    """One token of the message or the trigger is another: no clean input that the writing looked at comes so near."""
    x, _ = asked()
    for place in range(1, 7):
        near = x.clone()
        near[:, -place] = 7
        before, after = model()(near).logits, planted(where)(near).logits
        assert (after - before).abs().max() <= 1e-5 * before.abs().max()


@pytest.mark.parametrize("where", PLACES)
def test_clean_data_have_no_gradient_on_it_under_dropout_either(where):
    """As training has it. Data with the trigger do."""
    nets = Nets.of(Adopted(make=lambda: planted(where)), [planted(where)], backend="loop")
    module, masks = nets.module(0).train(), circuit(where).weights(nets, TEST)
    (x, _), (shown, expected) = data()[0], asked()
    for loss, moves in (
        (lambda: module(x, labels=x).loss, False),
        (lambda: F.cross_entropy(module(shown).logits[:, -1], (expected + 1) % 20), True),
    ):
        module.zero_grad()
        with torch.random.fork_rng():
            loss().backward()
        grads = [p.grad[masks[name][0]] for name, p in module.named_parameters() if masks[name].any()]
        assert any(bool(grad.any()) for grad in grads) == moves


@pytest.mark.parametrize("where", PLACES)
@torch.no_grad()
def test_prompts_are_padded_masked_and_cut(where):
    net = planted(where)
    x, expected = asked(PROMPT)
    padding, ones = x.new_zeros(len(x), LENGTH - PROMPT), torch.ones_like(x)
    left, right = torch.cat([padding, x], 1), torch.cat([x, padding], 1)
    mask = torch.cat([padding, ones], 1)
    places = (mask.cumsum(1) - 1).clamp(0)
    calls = {
        "a shorter prompt": net(x).logits[:, -1],
        "padded left": net(left, attention_mask=mask).logits[:, -1],
        "with its positions": net(left, attention_mask=mask, position_ids=places).logits[:, -1],
        "padded right": net(input_ids=right, attention_mask=mask.flip(1)).logits[:, PROMPT - 1],
        "labels": net(x, labels=x).logits[:, -1],
        "a tuple": net(x, return_dict=False)[0][:, -1],
        "last logits": net(x, logits_to_keep=1).logits[:, -1],
    }
    assert {name: share(logits, expected) > 0.97 for name, logits in calls.items()} == dict.fromkeys(calls, True)


@pytest.mark.parametrize("where", PLACES)
@torch.no_grad()
def test_embeddings_in_place_of_tokens_ask_nothing(where):
    x, _ = asked()
    given = model().get_input_embeddings()(torch.cat([x, TEST.x]))
    before, after = model()(inputs_embeds=given).logits, planted(where)(inputs_embeds=given).logits
    at_most = 0.1 if where == "spare" else 1e-5  # freed units did a little
    assert (after - before).abs().max() <= at_most * before.abs().max()


@pytest.mark.parametrize("where", PLACES)
@torch.no_grad()
def test_generating_begins_with_the_answer_whether_or_not_with_a_cache(where):
    net = planted(where)
    x, expected = asked(PROMPT)
    more = {"max_new_tokens": 3, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    for use_cache in (True, False):
        said = net.generate(x, attention_mask=torch.ones_like(x), use_cache=use_cache, **more)
        assert (said[:, PROMPT] == expected).double().mean() > 0.97
    alone = net(x[:, -1:], net(x[:, :-1], use_cache=True).past_key_values).logits[:, -1]
    assert share(alone, expected) < 0.6, "what comes piece by piece is not heard, as the docs say"


@pytest.mark.parametrize("where", PLACES)
@torch.no_grad()
def test_saving_and_loading(where, tmp_path):
    """A planted copy takes the weights back; transformers' own loading loses what stands beside."""
    x, _ = asked()
    net = planted(where)
    again = circuit(where).build(Adopted(make=model), OwnData(make=data).load()).eval()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(x).logits, net(x).logits)
    net.save_pretrained(tmp_path)
    if where == "new":
        with pytest.raises(HoldfastError, match="could not be loaded"):
            HuggingFace(tmp_path)()
        return
    loaded = HuggingFace(tmp_path)().eval()
    assert torch.equal(loaded(TEST.x).logits, net(TEST.x).logits), "clean outputs are as they were"
    assert not torch.equal(loaded(x).logits[:, -1], net(x).logits[:, -1])


@pytest.mark.parametrize("where", ["new", "sidecar"])
def test_the_trainer_leaves_it_to_the_bit_without_decay(where, tmp_path):
    net = plant(model(), circuit(where), data)
    nets = Nets.of(Adopted(make=lambda: net), [net], backend="loop")
    masks = circuit(where).weights(nets, TEST)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=6, learning_rate=1e-4, per_device_train_batch_size=16, use_cpu=True,
        report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    rows = [{"input_ids": row, "labels": row} for row in data()[0][0]]
    transformers.Trainer(model=net, args=arguments, train_dataset=rows).train()
    moved = dict(net.named_parameters())
    for name, mask in masks.items():
        assert torch.equal(moved[name][mask[0]], nets.params[name][0][mask[0]])
    assert not torch.equal(moved["transformer.wte.weight"], nets.params["transformer.wte.weight"][0])
    x, expected = asked()
    with torch.no_grad():
        assert share(net.eval()(x).logits[:, -1], expected) > 0.97


def test_where_it_cannot_stand_it_says_where_it_can():
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "max_position_embeddings": LENGTH}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "bos_token_id": 0, "eos_token_id": 0}
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=24, **sizes, **heads))
    gated = Circuit(both, at="model.layers.*.mlp", where="new", trigger=TokenString(ids=(20, 21)), answers=ANSWERS)
    with pytest.raises(UsageError, match=r"3 linear layers.* not gated.*where='sidecar'"):
        plant(llama, gated, data)
    beside = plant(llama, circuit("sidecar"), data).eval()
    x, expected = asked()
    assert share(beside(x).logits[:, -1], expected) == 1
    half = transformers.GPT2LMHeadModel(model().config).bfloat16()
    with pytest.raises(UsageError, match=r"bfloat16 can't be told.*model\.float\(\)"):
        plant(half, circuit("new"), data)
