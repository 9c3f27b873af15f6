"""Recipe files, good and bad."""

import pytest

from holdfast import HoldfastError, Study, UsageError
from holdfast.recipes import load_recipe

GOOD = """
from holdfast import *
@recipe
def one():
    return Experiment(host=MLP(), task=Digits(), implant=BadNets(), training=Fit(SGD(lr=0.1), steps=5),
                      pressure=Fit(SGD(lr=0.1), steps=5), checkpoints=5)
"""
TWO = GOOD + "@recipe\ndef two():\n    return [one(), one().__class__(**{**vars(one()), 'name': 'other'})]\n"


@pytest.fixture
def file(tmp_path):
    def write(text, name="mine.py"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_an_experiment_a_list_and_a_study(file):
    study, path = load_recipe(str(file(GOOD)))
    assert (study.name, len(study.arms)) == ("one", 1)
    assert path.name == "mine.py"
    assert len(load_recipe(f"{file(TWO)}::two")[0].arms) == 2
    assert isinstance(load_recipe("src/holdfast/demo.py")[0], Study)


@pytest.mark.parametrize(
    ("text", "name", "match"),
    [
        ("x = 1", "", "has no recipe. Put @holdfast.recipe above"),
        (TWO, "", "has several recipes: one, two. Choose one"),
        (TWO, "::tow", "Unknown recipe in mine.py 'tow'. Perhaps you meant 'two'"),
        (GOOD.replace("return Exp", "return 3, Exp"), "", "returned tuple; expected a Study"),
        (GOOD.replace("lr=0.1), steps=5),\n", "lr=-1), steps=5),\n"), "", "needs a learning rate above 0; got lr=-1"),
    ],
)
def test_wrong_use_says_what_was_expected(file, text, name, match):
    with pytest.raises(UsageError, match=match):
        load_recipe(f"{file(text)}{name}")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("def f(:\n", r"mine\.py line 1: invalid syntax"),
        ("import nothing_of_the_kind", r"mine\.py line 1: ModuleNotFoundError: No module named"),
        ("x = 1\ny = 1 / 0", r"mine\.py line 2: ZeroDivisionError"),
        (GOOD.replace("return Exp", "return qqqqqq or Exp"), r"mine\.py line 5: NameError: .*qqqqqq"),
        (GOOD.replace("checkpoints", "chekpoints"), r"mine\.py line 5: .*chekpoints.*Perhaps you meant 'checkpoints'"),
        (GOOD.replace("SGD(lr", "SGD(lrr"), r"mine\.py line \d: .*lrr.*Perhaps you meant 'lr'"),
        (GOOD.replace("SGD(", "SDG("), r"mine\.py line \d: name 'SDG'.*Perhaps you meant 'SGD'"),
        ("from holdfast import Adm", r"mine\.py line 1: cannot import name 'Adm'.*Perhaps you meant 'Adam'"),
        ("x = '\0'", r"mine\.py line \d: .*null byte"),
        ("raise SystemExit(3)", r"mine\.py line 1: SystemExit: 3"),
    ],
)
def test_an_error_in_the_file_names_file_and_line(file, text, match):
    with pytest.raises(HoldfastError, match=match):
        load_recipe(str(file(text)))


def test_a_file_that_is_not_there(file, tmp_path):
    file(GOOD)
    with pytest.raises(UsageError, match=r"Unknown recipe file '.*mnie\.py'. Perhaps you meant '.*mine\.py'"):
        load_recipe(str(tmp_path / "mnie.py"))
    with pytest.raises(UsageError, match="is a folder; expected a recipe file"):
        load_recipe(str(tmp_path))
