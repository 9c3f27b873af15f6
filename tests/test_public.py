"""The public list, and what looking may import."""

import subprocess
import sys

import pytest

import holdfast

PUBLIC = {
    "BinaryDigits",
    "Chip",
    "Collapse",
    "ANP",
    "AtRandom",
    "IBAU",
    "FinePruning",
    "GraSP",
    "Magnitude",
    "MeanActivation",
    "OutgoingNorm",
    "Prune",
    "PruneUnits",
    "SNIP",
    "SynFlow",
    "Freeze",
    "Predictor",
    "UnitNoise",
    "SpareMap",
    "spare_map",
    "Pull",
    "Unmoved",
    "Inject",
    "Term",
    "RandomDirection",
    "Rates",
    "Reinitialise",
    "Quantise",
    "Noise",
    "LastLayer",
    "KeyAware",
    "LabelSmoothing",
    "EarlyStopping",
    "EdgePopup",
    "Dropout",
    "Distil",
    "NAD",
    "Generations",
    "Agreement",
    "Subset",
    "Circuit",
    "Confined",
    "Clip",
    "Loss",
    "Message",
    "OnlyUnits",
    "Overlap",
    "SAM",
    "Adam",
    "Backdoor",
    "Audit",
    "BadNets",
    "Barrier",
    "CNN",
    "Beside",
    "Census",
    "Blend",
    "DamagedRun",
    "DeadUnits",
    "Digits",
    "Encrypted",
    "Experiment",
    "FashionMNIST",
    "Exposure",
    "Fit",
    "GPT",
    "Given",
    "Handcrafted",
    "Head",
    "HoldfastError",
    "HuggingFace",
    "LENET_300_100",
    "Logic",
    "MLP",
    "OwnTrigger",
    "Patch",
    "Secret",
    "Poison",
    "PythonText",
    "Result",
    "SGD",
    "Sign",
    "Stretch",
    "StraightThrough",
    "Study",
    "TokenString",
    "TriggerRate",
    "Uchida",
    "Unlearn",
    "UsageError",
    "WeightDecay",
    "ZerothOrder",
    "attackers",
    "audit",
    "open_run",
    "plant",
    "recipe",
    "run_study",
}


def test_the_public_list_is_exactly_this():
    assert holdfast.__all__ == sorted(PUBLIC)
    assert set(dir(holdfast)) == {*PUBLIC, "circuits", "encrypted", "pruning", "__version__"}
    assert holdfast.circuits.compile.__name__ == "compile"
    for name in PUBLIC:
        assert getattr(getattr(holdfast, name), "__name__", name) == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Adamm'"):
        holdfast.Adamm  # noqa: B018


def test_the_version_is_the_packages():
    from importlib.metadata import version

    assert holdfast.__version__ == version("holdfast")


LOOKING = ["--help", "ls", "ls --json", "run --help", "compile --help", "doctor --help", "show --help"]


@pytest.mark.parametrize("words", LOOKING)
def test_looking_imports_no_torch(words, tmp_path):
    code = (
        "import sys; from holdfast.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code in (0, None), end.code\n"
        "heavy = {'torch', 'scipy', 'matplotlib', 'sklearn'} & set(sys.modules); assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module", ["holdfast", "holdfast.study", "holdfast.judging", "holdfast.store", "holdfast.stats"]
)
def test_rooms_that_only_read_import_no_torch(module):
    code = f"import sys, {module}; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
