"""From `pip install` to a verdict, as the README says it, with the network off."""

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEN_MINUTES = 600
OFFLINE = """
import socket

def refuse(self, address):
    if self.family != socket.AF_UNIX:
        raise OSError(f"the network is off; asked for {address}")

socket.socket.connect = refuse
"""
"""Run at the start of every Python of the new environment."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a new environment in it, which has Holdfast's dependencies and neither Holdfast nor the network."""
    folder = tmp_path_factory.mktemp("newcomer")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    (site / "sitecustomize.py").write_text(OFFLINE)
    return folder


def typed(line, home):
    """(standard output, standard error) of a command line, typed in the newcomer's folder and environment."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HOLDFAST"))}
    environment |= {"PATH": f"{home / 'env' / 'bin'}:{os.environ['PATH']}", "PIP_NO_INDEX": "1"}
    done = subprocess.run(
        shlex.split(line), cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=TEN_MINUTES
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr


def test_the_network_is_off(home):
    with pytest.raises(AssertionError, match="the network is off"):
        typed("python -c 'import urllib.request; urllib.request.urlopen(\"http://localhost:9\")'", home)


def test_from_pip_install_to_a_verdict(home):
    readme = (ROOT / "README.md").read_text()
    new, check, audit = (
        re.search(rf"^    (holdfast {word} mine\.py.*?)(?:  +#.*)?$", readme, re.M)[1]
        for word in ("new", "check", "audit")
    )
    assert "pip install ." in readme
    typed(f"python -m pip install --no-build-isolation {ROOT}", home)
    where = typed("python -c 'import holdfast; print(holdfast.__file__)'", home)[0].strip()
    assert Path(where).is_relative_to(home), "what was installed, and not this checkout"
    typed(new, home)
    assert "FIX" not in typed(check, home)[0]
    said, _ = typed(audit, home)
    answer = " ".join(said.split())
    assert answer.startswith("Would your training remove what is hidden in the model? ")
    assert re.search(r"model\? (No|Not all of it|As far as was tried, yes)\b", answer)
    (run,) = (home / "runs").iterdir()
    verdict = json.loads((run / "verdict.json").read_text())
    assert [(arm["implant"], arm["seeds"]) for arm in verdict["arms"]] == [
        ("BadNets", 8),
        ("circuit program restoring, sidecar", 8),
        ("spare unit", 8),
        ("beside", 8),
    ]
    assert verdict["grade"]["sentence"].split(". ")[0] in answer
    assert (run / "report.html").exists()
