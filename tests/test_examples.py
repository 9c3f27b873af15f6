"""The examples do what they say."""

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast import run_study
from holdfast.recipes import load_recipe

EXAMPLES = Path(__file__).parents[1] / "examples"


def ran(script, cwd, *arguments):
    done = subprocess.run(
        [sys.executable, str(script), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_scratch_plants_and_measures(tmp_path):
    lines = ran(EXAMPLES / "from_scratch.py", tmp_path).splitlines()
    readings = [[float(x) for x in re.findall(r"(-?\d\.\d\d) \(", line)] for line in lines[2:]]
    assert len(readings) == 10
    assert all(row[0] > 0.9 and row[-1] < row[0] for row in readings)


def test_a_gate_is_computed_on_the_chip_under_encryption(tmp_path):
    pytest.importorskip("amaranth")
    pytest.importorskip("pyosys")
    said = ran(EXAMPLES / "chip_encrypted.py", tmp_path, "--quick")
    assert "to the coefficient: True" in said
    function, decrypted = (line.split()[-1] for line in said.splitlines()[-3:-1])
    assert function == decrypted
    assert said.splitlines()[-1] == "64 of 64 right"


def test_a_suspect_checkpoint_is_judged(tmp_path):
    script = tmp_path / "suspect_checkpoint.py"
    script.write_text((EXAMPLES / "suspect_checkpoint.py").read_text().replace("steps=600)", "steps=60)"))
    ran(script, tmp_path)
    study, recipe = load_recipe(str(script))
    arm = run_study(study, out=tmp_path / "runs", recipe=recipe).verdict()["arms"][0]
    assert arm["implant"] == "given (suspect.safetensors)"
    assert arm["verdict"] != "INVALID", arm["reason"]
    assert arm["seeds"] == 32
    assert len(arm["cells"]["control"]) == 32


@pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning", "ignore:.*is_gradient_checkpointing:FutureWarning")
def test_a_fine_tuning_by_lora_is_audited(tmp_path):
    """Adapters change the network's structure while they are trained; merged, they are gone from it."""
    pytest.importorskip("peft")
    script = tmp_path / "lora.py"
    text = (EXAMPLES / "lora.py").read_text()
    quick = "seeds=2, planting=holdfast.Fit(holdfast.Adam(lr=1e-3), steps=8)"
    for slow, fast in (("steps=600", "steps=100"), ("steps=200", "steps=9"), ("seeds=8", quick)):
        assert slow in text
        text = text.replace(slow, fast)
    script.write_text(text)
    ran(script, tmp_path)
    study, recipe = load_recipe(str(script))
    folder = run_study(study, out=tmp_path / "runs", recipe=recipe)
    beside = folder.verdict()["arms"][-1]
    assert (beside["implant"], beside["held"], beside["budget"]) == ("beside", 2, 9)
    measures = folder.measures(beside["cells"]["planted"]["0"]).phase("pressure")
    assert measures["step"] == [0, 1, 2, 3, 4, 6, 8, 9]
    known = [math.isfinite(d) for d in measures["distance"]]
    assert known == [True, *[False] * 6, True], "not known while there are adapters"


def test_parts_of_ones_own_from_a_file(tmp_path):
    study, recipe = load_recipe(str(EXAMPLES / "own_parts.py"))
    folder = run_study(study, out=tmp_path / "runs", recipe=recipe)
    arm = folder.verdict()["arms"][0]
    assert arm["verdict"] != "INVALID", arm["reason"]
    assert "pinched by 0.05" in arm["setting"]
    columns = folder.measures(arm["cells"]["planted"]["0"]).phase("pressure")
    assert columns["largest_weight"][-1] < columns["largest_weight"][0], "the term acted, and the probe saw it"


@pytest.mark.parametrize("name", ["circuit", "removal"])
def test_a_recipe_is_a_study(name):
    study, _ = load_recipe(str(EXAMPLES / f"{name}.py"))
    assert len(study.named) >= 1
    assert study.seeds >= 2
