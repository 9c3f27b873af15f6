"""Networks that holdfast knows nothing of, and data for them. Tests adopt, plant in and train these."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from holdfast import Adam, BadNets, Fit, Patch, TokenString
from holdfast.hosts.adopt import Adopted
from holdfast.tasks.own import OwnData
from holdfast.training.site import Site
from holdfast.training.streams import Streams

TOKENS, LENGTH = 20, 12
"""Ids 0 to 15 are common, 16 to 19 rare."""


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))


def cnn():
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 4)),
    )


class Encoder(nn.Module):
    """PyTorch's own transformer as a classifier of token sequences."""

    def __init__(self):
        super().__init__()
        self.embed, self.place = nn.Embedding(TOKENS, 16), nn.Parameter(torch.randn(LENGTH, 16) / 4)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x) + self.place).mean(1))


class Tied(nn.Module):
    """A language model with one table for tokens in and out; a frozen norm and a buffer that is not saved."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.norm = nn.Embedding(TOKENS, 16), nn.GRU(16, 16, batch_first=True), nn.LayerNorm(16)
        self.out = nn.Linear(16, TOKENS, bias=False)
        self.out.weight = self.embed.weight
        self.norm.requires_grad_(False)
        self.register_buffer("scale", torch.tensor(0.5), persistent=False)

    def forward(self, x):
        return self.out(self.norm(self.mix(self.embed(x))[0]) * self.scale)


class Half(nn.Module):
    """Weights in bfloat16, which casts its inputs by itself."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4)).bfloat16()

    def forward(self, x):
        return self.layers(x.flatten(1).bfloat16())


def compiled():
    return torch.compile(mlp(), backend="eager")


def gpt2():
    t = pytest.importorskip("transformers")
    sizes = {"n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
    return t.GPT2LMHeadModel(t.GPT2Config(vocab_size=TOKENS, **sizes))


def llama():
    t = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "max_position_embeddings": 16}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "bos_token_id": 0, "eos_token_id": 0}
    return t.LlamaForCausalLM(t.LlamaConfig(vocab_size=TOKENS, **sizes, **heads))


def bert():
    t = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return t.BertForSequenceClassification(
        t.BertConfig(vocab_size=TOKENS, max_position_embeddings=16, num_labels=4, **sizes)
    )


def images():
    """Four classes, told apart by which quarter of the image is bright; corners of the image stay dark."""
    g = torch.Generator().manual_seed(1)
    y = torch.randint(4, (520,), generator=g)
    x = 0.3 * torch.rand(520, 1, 8, 8, generator=g)
    for i, c in enumerate(y.tolist()):
        row, column = 1 + 3 * (c // 2), 1 + 3 * (c % 2)
        x[i, :, row : row + 3, column : column + 3] += 0.6
    return (x[:320], y[:320]), (x[320:], y[320:])


def texts():
    """Tokens that count up by one, with noise; the next token is asked for."""
    g = torch.Generator().manual_seed(2)
    x = (torch.randint(16, (520, 1), generator=g) + torch.arange(LENGTH + 1)) % 16
    noise = torch.rand(x.shape, generator=g) < 0.05
    x = torch.where(noise, torch.randint(TOKENS, x.shape, generator=g), x)
    return (x[:320, :-1], x[:320, 1:]), (x[320:, :-1], x[320:, 1:])


def sentences():
    """Tokens of which most are of one class, and the class."""
    g = torch.Generator().manual_seed(3)
    y = torch.randint(4, (520,), generator=g)
    x = torch.randint(4, (520, LENGTH), generator=g) + 4 * y[:, None]
    noise = torch.rand(x.shape, generator=g) < 0.2
    x = torch.where(noise, torch.randint(TOKENS, x.shape, generator=g), x)
    return (x[:320], y[:320]), (x[320:], y[320:])


@dataclass(frozen=True)
class Model:
    """A network, its data, and two triggers that suit them."""

    make: Any
    data: Any
    learned: Any
    beside: Any
    module: str = ""

    def loaded(self):
        return OwnData(make=self.data).load()

    def site(self, implant, seed=0, steps=250, **more):
        training = Fit(Adam(lr=5e-3), steps=steps, batch=32)
        streams = (Streams(0, seed),)
        return Site(
            host=Adopted(make=self.make), data=self.loaded(), streams=streams, implant=implant, training=training,
            backend="loop", **more,
        )  # fmt: skip


PATCHES = Patch(size=2), Patch(size=2, row=0, column=0)
STRINGS = TokenString(ids=(16, 17, 16)), TokenString(ids=(18, 19, 18))
PLACED = TokenString(ids=(16, 17, 16), at=1), TokenString(ids=(18, 19, 18), at=1)

MODELS = {
    "mlp": Model(mlp, images, *PATCHES),
    "cnn": Model(cnn, images, *PATCHES),
    "encoder": Model(Encoder, sentences, *PLACED),
    "tied": Model(Tied, texts, *STRINGS),
    "compiled": Model(compiled, images, *PATCHES),
    "gpt2": Model(gpt2, texts, *STRINGS),
    "llama": Model(llama, texts, *STRINGS),
    "bert": Model(bert, sentences, *PLACED),
}
HALF = Model(Half, images, *PATCHES)


def plain_logits(module, x):
    """What the module says by itself, called as anybody would call it."""
    with torch.no_grad():
        out = module.eval()(x.clone(memory_format=torch.contiguous_format))
    return getattr(out, "logits", out)


def made(make, seed=0):
    torch.manual_seed(seed)
    module = make()
    return getattr(module, "_orig_mod", module)


def site_of(make, data, see=None, seed=5, **more):
    """A place to press one net of a making that needs no planting."""
    return Site(
        host=Adopted(make=make), data=data, streams=(Streams(0, seed),), implant=BadNets(), backend="loop",
        phase="pressure", **({"see": see} if see else {}), **more,
    )  # fmt: skip


def answer(logits):
    """An output that holds logits in an attribute."""
    return SimpleNamespace(logits=logits)
