"""What counts as the code that decides a result."""

import shutil
import sys
from pathlib import Path

import pytest

from holdfast.store import code
from holdfast.store.code import FILES, ROOMS, library_digest, user_digest


def test_every_room_that_decides_a_result_is_in_the_digest():
    """Whatever `holdfast.run` loads of ours, besides what only stores, judges or shows."""
    import holdfast.run  # noqa: F401

    shows = {
        "store",
        "stats",
        "engines",
        "report",
        "cli",
        "errors",
        "judging",
        "sessions",
        "recipes",
        "estimate",
        "checks",
        "auditing",
        "notebook",
        "claims",
        "extending",
        "unit_map",
    }
    loaded = {name.split(".")[1] for name in sys.modules if name.startswith("holdfast.")}
    assert loaded - shows - {"demo"} <= {*ROOMS, *(file.removesuffix(".py") for file in FILES)}


@pytest.mark.parametrize("file", ["training/nets.py", "engines/base.py", "cells.py", "implants/beside.py"])
def test_a_changed_line_of_such_a_module_changes_the_digest(file, monkeypatch, tmp_path):
    copied = tmp_path / "holdfast"
    shutil.copytree(code.PACKAGE, copied)
    monkeypatch.setattr(code, "PACKAGE", copied)
    before = library_digest.__wrapped__()
    assert before == library_digest()
    (copied / file).write_text((copied / file).read_text() + "# changed")
    assert library_digest.__wrapped__() != before


def test_a_changed_recipe_or_a_module_beside_it_changes_the_digest(tmp_path):
    recipe, package = tmp_path / "recipe.py", tmp_path / "inner"
    package.mkdir()
    files = {
        recipe: "import helper\ndef f():\n    from inner import late\n",
        tmp_path / "helper.py": "a = 1",
        tmp_path / "other.py": "nobody imports it",
        package / "__init__.py": "",
        package / "late.py": "from . import deep\nfrom .deep import b\nimport helper",
        package / "deep.py": "b = 1",
    }
    for file, text in files.items():
        file.write_text(text)
    whole = user_digest(recipe)
    assert user_digest(recipe) == whole
    for file, text in files.items():
        file.write_text(text + "\n# changed")
        assert (user_digest(recipe) == whole) == (file.name == "other.py"), file.name
        file.write_text(text)
    assert user_digest(recipe) == whole


def test_the_digest_does_not_depend_on_what_is_loaded(tmp_path, monkeypatch):
    (tmp_path / "recipe.py").write_text("def f():\n    import lazy_of_recipe")
    (tmp_path / "lazy_of_recipe.py").write_text("a = 1")
    before = user_digest(tmp_path / "recipe.py")
    monkeypatch.syspath_prepend(tmp_path)
    import lazy_of_recipe  # noqa: F401

    assert user_digest(tmp_path / "recipe.py") == before


def test_our_own_modules_are_not_counted_as_the_users():
    recipe = Path(__file__).parents[2] / "src" / "recipe_that_is_not_there.py"
    assert (recipe.parent / "holdfast" / "run.py").is_file()
    assert not list(code._files(["holdfast", "run"], recipe.parent))
