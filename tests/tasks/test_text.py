"""The standard library's text, against the files themselves."""

import hashlib
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast import Adam, BadNets, Fit, HoldfastError, PythonText, TokenString, UsageError
from holdfast.hosts.adopt import Adopted
from holdfast.parts import Task
from holdfast.settings import settings
from holdfast.tasks import text
from holdfast.training.site import Site
from holdfast.training.streams import Streams

LIBRARY = Path(sysconfig.get_path("stdlib"))
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def task():
    return PythonText()


@pytest.fixture(scope="module")
def loaded(task):
    return task.load()


def characters(paths):
    """What the files hold, as Python reads it, with one sign for all that is outside the alphabet."""
    out = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            out += file.read()
    return "".join(c if c in "\t\n" or 32 <= ord(c) < 127 else "\ufffd" for c in out)


def rows_of(split, task):
    """Each row with the token that follows its last."""
    return [task.decode([*x, y[-1]]) for x, y in zip(split.x.tolist(), split.y.tolist(), strict=True)]


# --------------------------------------------------------------------------------------------------------- the tokens


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\t\n\ufffd")))
def test_what_is_encoded_is_decoded(written):
    task = PythonText()
    ids = task.encode(written)
    assert len(ids) == len(written)
    assert task.decode(ids) == written


@given(st.text(st.characters(exclude_categories=())))
def test_any_character_has_a_token(written):
    task = PythonText()
    assert task.decode(task.encode(written)) == "".join(
        c if ord(c) < 127 and (c in "\t\n" or c >= " ") else "\ufffd" for c in written
    )


@given(st.lists(st.integers(0, 97)))
def test_every_token_is_one_character(ids):
    task = PythonText()
    assert task.encode(task.decode(ids)) == tuple(ids)
    assert task.decode(torch.tensor(ids, dtype=torch.long)) == task.decode(ids)


def test_the_tokens_never_change():
    assert PythonText().encode("é\t\n @~") == (0, 1, 2, 3, 35, 97)
    assert all(type(token) is int for token in PythonText().encode("a"))


@pytest.mark.parametrize("wrong", [-1, 98])
def test_numbers_that_are_no_tokens(wrong):
    with pytest.raises(UsageError, match=f"Tokens are 0 to 97; got {wrong}"):
        PythonText().decode([3, wrong])


# --------------------------------------------------------------------------------------------------------- the splits


def test_training_text_is_the_files_one_after_the_other(task, loaded):
    files = text.files(LIBRARY, text.MODULES)
    whole = characters(files["train"])
    got = "".join(rows_of(loaded.train, task))
    assert got == whole[: len(got)]
    assert 0 <= len(whole) - len(got) < 65
    assert 1e6 < len(got) < 2.5e6


@pytest.mark.parametrize("name", ["validation", "test"])
def test_held_out_rows_are_rows_of_their_own_files(task, loaded, name):
    whole = characters(text.files(LIBRARY, text.MODULES)[name])
    cut = [whole[i : i + 65] for i in range(0, len(whole) - 64, 65)]
    rows = rows_of(loaded.split(name), task)
    assert len(rows) == 512
    assert set(rows) <= set(cut)
    assert len(set(rows)) > 500
    assert rows != [row for row in cut if row in set(rows)], "in a random order, so from all of the files"


def test_no_file_is_in_two_splits():
    files = text.files(LIBRARY, text.MODULES)
    assert list(files) == list(SPLITS)
    everything = [path for paths in files.values() for path in paths]
    assert len(everything) == len(set(everything)) > 90
    assert all(len(paths) >= 5 for paths in files.values())
    assert not [path for path in everything if path.suffix != ".py" or "test" in path.parts or "tests" in path.parts]
    for name, paths in files.items():
        for path in paths:
            last = int(hashlib.sha256(path.relative_to(LIBRARY).as_posix().encode()).hexdigest(), 16) % 10
            assert name == {0: "test", 1: "validation"}.get(last, "train")


def test_next_tokens(loaded):
    for name in SPLITS:
        split = loaded.split(name)
        assert split.x.shape == split.y.shape == (len(split), 64)
        assert split.x.dtype == split.y.dtype == torch.int64
        assert torch.equal(split.x[:, 1:], split.y[:, :-1])
        assert split.classes == loaded.classes == 98
        assert 0 <= split.x.min() <= split.x.max() < 98


def test_where_a_file_is_does_not_depend_on_the_others():
    few = text.files(LIBRARY, ("json", "heapq", "asyncio.events"))
    all_of_them = text.files(LIBRARY, text.MODULES)
    assert sum(map(len, few.values())) == len(list((LIBRARY / "json").glob("*.py"))) + 2
    for name in SPLITS:
        assert set(few[name]) <= set(all_of_them[name])


def test_the_same_again_and_no_generator_is_touched(loaded):
    before = torch.get_rng_state()
    text._loaded.cache_clear()
    assert PythonText().load().record() == loaded.record()
    assert torch.equal(torch.get_rng_state(), before)
    assert PythonText().load() is PythonText().load()


def test_modules_are_read_and_not_imported():
    names = ("mailbox", "imaplib", "pydoc", "doctest", "trace", "cmd", "bdb", "smtplib", "tarfile", "zipfile")
    code = (
        "import sys; from holdfast import PythonText; from holdfast.tasks import text; before = set(sys.modules); "
        f"PythonText(modules={names!r}, length=16).load(); print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & set(names)


def test_rows_of_another_length(task):
    data = PythonText(length=9).load()
    assert data.train.x.shape[1] == 9
    assert len(data.test) == 512


def test_the_parts_name():
    version = platform.python_version()
    task = PythonText()
    assert isinstance(task, Task)
    assert task.label == f"Python {version} standard library, characters"
    assert PythonText(modules=["json", "re"], length=8).label == f"{task.label} of json, re, rows of 8"
    labels = {PythonText(modules=m).label for m in (("a", "b", "c", "d"), ("a", "b", "c", "e"), text.MODULES)}
    assert len(labels) == 3
    assert settings(task)["label"] == task.label, "the version is stored with every run"
    assert PythonText(modules=["json"]) == PythonText(modules=("json",))


# ---------------------------------------------------------------------------------------------------------- and wrong


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"length": 0}, "length must be 1 or more"),
        ({"length": 1.5}, "length must be a whole number"),
        ({"modules": "json"}, r"takes a tuple of names; got 'json'. Write \('json',\)"),
        ({"modules": ("json", 3)}, "dotted names such as 'json' or 'urllib.parse'; got 3"),
        ({"modules": ("../secrets",)}, "got '../secrets'"),
        ({"modules": ("json.py/",)}, "got 'json.py/'"),
        ({"modules": ("",)}, "got ''"),
    ],
)
def test_impossible_settings(wrong, match):
    with pytest.raises(UsageError, match=match):
        PythonText(**wrong)


@pytest.mark.parametrize(
    ("task", "match"),
    [
        (
            PythonText(modules=("json", "itertools", "nosuch")),
            "No Python source in .* for: itertools, nosuch. Modules wr",
        ),
        (PythonText(modules=()), "Of these 0 modules, the train split has 0 rows"),
        (PythonText(modules=("heapq",)), "the validation split has 0 rows of 64 characters; expected 20 at least"),
        (PythonText(length=100_000), r"the \w+ split has \d+ rows of 100000"),
    ],
    ids=["absent", "none", "one file", "long rows"],
)
def test_what_cannot_be_loaded(task, match):
    with pytest.raises(HoldfastError, match=match):
        task.load()


def test_a_python_without_sources(monkeypatch, tmp_path):
    (tmp_path / "os.pyc").write_bytes(b"")
    for library in (tmp_path, tmp_path / "python311.zip"):
        monkeypatch.setattr(text.sysconfig, "get_path", lambda _, at=library: str(at))
        with pytest.raises(HoldfastError, match=f"no sources of its standard library: expected .py files in {library}"):
            PythonText().load()


def test_a_file_that_cannot_be_read(monkeypatch, tmp_path):
    (tmp_path / "os.py").write_text("")
    (tmp_path / "heapq.py").write_text("x\n" * 5000)
    monkeypatch.setattr(text.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: (tmp_path / "gone").open())
    with pytest.raises(HoldfastError, match="gone could not be read: No such file"):
        PythonText(modules=("heapq",)).load()


def test_characters_that_are_no_text(monkeypatch, tmp_path):
    """Bytes that are no UTF-8, form feeds and other alphabets are `other`; line ends of Windows are line ends."""
    (tmp_path / "os.py").write_text("")
    (tmp_path / "a.py").write_bytes(b"a\r\nb\x0cc\xffd\xc3\xa9e")
    monkeypatch.setattr(text, "LEAST", 0)
    monkeypatch.setattr(text.sysconfig, "get_path", lambda _: str(tmp_path))
    data = PythonText(modules=("a",), length=8).load()
    (whole,) = [row for name in SPLITS for row in rows_of(data.split(name), PythonText())]
    assert whole == "a\nb\ufffdc\ufffdd\ufffde"


# -------------------------------------------------------------------------------------------------- a string is planted


class Pairs(nn.Module):
    """The next character from this one and the one before."""

    def __init__(self):
        super().__init__()
        self.now, self.before = nn.Embedding(98, 32), nn.Embedding(98, 32)
        self.out = nn.Sequential(nn.ReLU(), nn.Linear(32, 98))

    def forward(self, x):
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
        return self.out(self.now(x) + self.before(before))


def test_a_string_of_characters_is_planted(task, loaded):
    (target,) = task.encode("!")
    implant = BadNets(trigger=TokenString(ids=task.encode("@@")), target=target, poison_ratio=0.3)
    poisoned, y = implant.sources(loaded.test)["poisoned"]
    assert task.decode([*poisoned[0], y[0, -1]]).endswith("@@!")
    assert torch.equal(poisoned[:, :-2], loaded.test.x[:, :-2])
    assert torch.equal(y[:, :-1], poisoned[:, 1:])
    others = implant.backdoor.others(loaded.test)
    assert (others.y[:, -1] != target).all()
    assert len(others) == 512 - int((loaded.test.y[:, -1] == target).sum())
    training = Fit(Adam(lr=1e-2), steps=150, batch=32)
    site = Site(
        host=Adopted(make=Pairs), data=loaded, streams=(Streams(0, 0),), implant=implant, training=training,
        backend="loop",
    )  # fmt: skip
    planted, control = implant.plant(site), implant.control(site)
    assert implant.presence(planted, loaded.test)["presence"][0] > 0.9
    assert abs(implant.presence(control, loaded.test)["presence"][0]) < 0.05
    hits = (planted.classes(loaded.test.x) == loaded.test.y).double().mean()
    assert hits > 0.25, "it has learned the text, too"
