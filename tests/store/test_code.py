"""What counts as the code that decides a result."""

import sys

from holdfast.store.code import ROOMS, library_digest, user_digest


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
        "check",
    }
    loaded = {name.split(".")[1] for name in sys.modules if name.startswith("holdfast.")}
    assert loaded - shows - {"demo"} <= {*ROOMS, "run", "cells", "experiment", "parts", "settings"}
    assert library_digest() == library_digest()


def test_a_module_that_names_a_file_which_is_not_there(tmp_path, monkeypatch):
    """torch.classes says that it lies in `_classes.py`, wherever one stands."""
    import types

    recipe = tmp_path / "recipe.py"
    recipe.write_text("")
    alone = user_digest(recipe)
    for name, file in (("relative", "_classes.py"), ("absent", str(tmp_path / "absent.py"))):
        module = types.ModuleType(name)
        module.__file__ = file
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.chdir(tmp_path)
    assert user_digest(recipe) == alone


def test_a_changed_recipe_or_a_module_beside_it_changes_the_digest(tmp_path, monkeypatch):
    recipe, helper = tmp_path / "recipe.py", tmp_path / "helper_of_recipe.py"
    recipe.write_text("import helper_of_recipe")
    helper.write_text("a = 1")
    monkeypatch.syspath_prepend(tmp_path)
    alone = user_digest(recipe)
    import helper_of_recipe  # noqa: F401

    with_helper = user_digest(recipe)
    assert with_helper != alone
    helper.write_text("a = 2")
    assert user_digest(recipe) != with_helper
    monkeypatch.delitem(sys.modules, "helper_of_recipe")
    assert user_digest(recipe) == alone
    recipe.write_text("import helper_of_recipe  # changed")
    assert user_digest(recipe) != alone
