import subprocess
import sys

import holdfast.stats


def test_every_public_name_is_there_once():
    names = holdfast.stats.__all__
    assert len(names) == len(set(names))
    assert all(hasattr(holdfast.stats, name) for name in names)


def test_looking_imports_neither_torch_nor_scipy_stats():
    code = "import sys, holdfast.stats; print([m for m in ('torch', 'scipy.stats', 'lifelines') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
