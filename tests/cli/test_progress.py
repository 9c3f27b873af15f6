"""What is said while a run goes on."""

from types import SimpleNamespace

import pytest

from holdfast.cli import progress


@pytest.mark.parametrize(("steps", "said"), [(0, "planting: under way"), (40, "planting: 25 %,")])
def test_a_stage_is_spoken_of_also_where_nothing_is_trained(monkeypatch, capsys, steps, said):
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    batch = SimpleNamespace(cells=[SimpleNamespace(title="written")] * 2, net_steps=steps, key="a")
    lines = progress.PlainLines()
    lines.begin("planting", [batch])
    lines.tick(batch, steps // 4)
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)
