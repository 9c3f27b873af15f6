"""Text: the source of the Python that runs, character by character.

Shapes: N rows, T tokens a row.
"""

import hashlib
import platform
import re
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from holdfast.errors import HoldfastError, UsageError, whole
from holdfast.tasks.base import Data, Split

ALPHABET = "\t\n" + "".join(map(chr, range(32, 127)))
"""Tab, newline and printable ASCII: tokens 1 to 97."""
OTHER = "\N{REPLACEMENT CHARACTER}"
"""What token 0, any character outside the alphabet, is decoded to."""
TOKENS = len(ALPHABET) + 1
ROWS, LEAST = 512, 20
"""Rows to validate on and to test on, so that looking costs little; and the fewest that will do."""
MODULES = (
    *("argparse", "ast", "asyncio", "base64", "codecs", "collections", "configparser", "contextlib"),
    *("copy", "csv", "dataclasses", "difflib", "dis", "enum", "fractions", "functools"),
    *("gettext", "glob", "gzip", "heapq", "json", "logging", "numbers", "pathlib"),
    *("pickle", "pprint", "queue", "random", "re", "sched", "selectors", "shelve"),
    *("shlex", "shutil", "socket", "socketserver", "statistics", "string", "subprocess", "tempfile"),
    *("textwrap", "threading", "timeit", "tokenize", "traceback", "urllib", "weakref"),
)
"""Modules and packages that every Python from 3.11 on has, none of them deprecated."""
NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_ID = np.zeros(128, np.int64)
_ID[[ord(c) for c in ALPHABET]] = np.arange(1, TOKENS)


@dataclass(frozen=True, kw_only=True)
class PythonText:
    """Characters of Python's own standard library, in rows of `length`; the next one is asked for at every position.

    x_NT and y_NT (int64): y is x one character on, so a row takes length + 1 characters, and rows don't overlap. Token
    0 stands for any character outside the alphabet, 1 for tab, 2 for newline, 3 to 97 for printable ASCII; the alphabet
    is fixed, so a token means the same in every version of Python. Some 1.8 million characters train (28,000 rows of
    64); 512 rows validate and 512 test, fewer where there are fewer, drawn from their files in a fixed order.

    Files are read, never imported. Which split a file is in depends on its name alone: SHA-256 of its path in the
    library, modulo 10: 0 tests, 1 validates, the others train. Within a split, files follow each other by name.

    When it misleads: the text is that of the Python that runs, so figures of two versions are of two data sets (the
    version is in the label, and so in every run). Files of one package are alike (`asyncio`), and all have the same
    house style, so held-out text is closer to training text than another author's would be. A row begins anywhere, and
    its first characters can only be guessed: accuracy is over all positions, those too.

    Source: Lib/ of CPython, PSF licence, as it is installed; no tests of it.
    """

    modules: tuple[str, ...] = MODULES
    """Modules and packages, by their dotted names; of packages, all files but tests."""
    length: int = 64

    def __post_init__(self) -> None:
        whole("length", self.length)
        if self.length < 1:
            raise UsageError(f"length must be 1 or more characters a row; got {self.length}.")
        if isinstance(self.modules, str):
            raise UsageError(f"modules takes a tuple of names; got {self.modules!r}. Write ({self.modules!r},).")
        if not isinstance(self.modules, tuple | list):
            raise UsageError(f"modules takes a tuple of names; got {self.modules!r}.")
        object.__setattr__(self, "modules", tuple(self.modules))
        for name in self.modules:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise UsageError(f"modules takes dotted names such as 'json' or 'urllib.parse'; got {name!r}.")

    @property
    def label(self) -> str:
        """All that decides the data, the version of Python first."""
        named = ", ".join(self.modules) if len(self.modules) < 4 else f"modules {_short(self.modules)}"
        which = "" if self.modules == MODULES else f" of {named}"
        rows = "" if self.length == 64 else f", rows of {self.length}"
        return f"Python {platform.python_version()} standard library, characters{which}{rows}"

    def load(self) -> Data:
        """The three splits, kept in this process.

        Raises:
            HoldfastError: this Python has no sources, or no such module; or a split would have under 20 rows.
        """
        return _loaded(sysconfig.get_path("stdlib"), self.modules, self.length)

    def encode(self, text: str) -> tuple[int, ...]:
        """The tokens of a text, one a character: `TokenString(ids=PythonText().encode("@@"))`."""
        if not isinstance(text, str):
            raise UsageError(f"encode takes a text; got {text!r}.")
        return tuple(_encoded(text).tolist())

    def decode(self, ids: Iterable[int]) -> str:
        """The text of tokens (a list, or a row of a split); token 0 gives U+FFFD.

        Raises:
            UsageError: a number that is no token.
        """
        tokens = [int(token) for token in ids]
        for token in tokens:
            if not 0 <= token < TOKENS:
                raise UsageError(f"Tokens are 0 to {TOKENS - 1}; got {token}.")
        return "".join((OTHER + ALPHABET)[token] for token in tokens)


def _short(modules: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(modules).encode()).hexdigest()[:8]


def _encoded(text: str) -> NDArray[np.int64]:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return np.where(codes < 128, _ID[np.minimum(codes, 127)], 0)


def files(library: Path, modules: Iterable[str]) -> dict[str, list[Path]]:
    """The source files of modules, by the split that they are in, by name within it.

    Raises:
        HoldfastError: a module that is not there as Python source.
    """
    if not (library / "os.py").is_file():
        raise HoldfastError(
            f"This Python has no sources of its standard library: expected .py files in {library}, where there are "
            f"none (it may be zipped or compiled). Use a Python that was installed with them, or `OwnData`."
        )
    found: set[Path] = set()
    missing = []
    for name in modules:
        path = library.joinpath(*name.split("."))
        inside = [file for file in path.rglob("*.py") if not {"test", "tests"} & set(file.relative_to(path).parts)]
        here = inside if path.is_dir() else [file for file in (path.with_suffix(".py"),) if file.is_file()]
        found.update(here)
        missing += [] if here else [name]
    if missing:
        raise HoldfastError(
            f"No Python source in {library} for: {', '.join(missing)}. Modules written in C have none, and not "
            f"every version has every module: leave them out of `modules`."
        )
    splits: dict[str, list[Path]] = {"train": [], "validation": [], "test": []}
    for file in sorted(found):
        digest = int(hashlib.sha256(file.relative_to(library).as_posix().encode()).hexdigest(), 16) % 10
        splits[{0: "test", 1: "validation"}.get(digest, "train")].append(file)
    return splits


@lru_cache(maxsize=2)
def _loaded(library: str, modules: tuple[str, ...], length: int) -> Data:
    rows = {name: _rows(paths, length) for name, paths in files(Path(library), modules).items()}
    for name, tokens in rows.items():
        if len(tokens) < LEAST:
            raise HoldfastError(
                f"Of these {len(modules)} modules, the {name} split has {len(tokens)} rows of {length} characters; "
                f"expected {LEAST} at least. A file's name decides its split: name more modules, or shorten the rows."
            )
        if name != "train":
            order = np.random.Generator(np.random.Philox(key=0)).permutation(len(tokens))
            rows[name] = tokens[order[:ROWS]]
    parts = {name: _split(torch.from_numpy(tokens)) for name, tokens in rows.items()}
    return Data(**parts, classes=TOKENS)


def _rows(paths: Sequence[Path], length: int) -> NDArray[np.int64]:
    """Files one after the other, cut into rows of length + 1; what is left at the end is dropped."""
    try:
        text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in paths)
    except OSError as error:
        raise HoldfastError(f"{error.filename} could not be read: {error.strerror}. Mend its permissions.") from None
    count = len(text) // (length + 1)
    return _encoded(text)[: count * (length + 1)].reshape(count, length + 1)


def _split(rows: torch.Tensor) -> Split:
    return Split(rows[:, :-1].contiguous(), rows[:, 1:].contiguous(), TOKENS)
