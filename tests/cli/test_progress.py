"""What is said while a run goes on."""

from types import SimpleNamespace

import pytest

from holdfast.cli import progress


@pytest.mark.parametrize(("steps", "said"), [(0, "planting: under way"), (40, "planting: 25 %,")])
def test_a_stage_is_spoken_of_also_where_nothing_is_trained(monkeypatch, capsys, steps, said):
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    batch = SimpleNamespace(cells=[SimpleNamespace(title="written")] * 2, net_steps=steps, key="a")
    lines = progress.PlainLines({})
    lines.begin("planting", [batch])
    lines.tick(batch, steps // 4)
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)


def test_time_left_is_of_what_steps_take(monkeypatch):
    """Closed form: 100 quick steps of 1 s, then 10 slow ones of 90 s, so that a tenth is done after the first."""
    quick, slow = (
        SimpleNamespace(cells=[SimpleNamespace(title=title)], net_steps=steps, key=title)
        for title, steps in (("quick", 100), ("slow", 10))
    )
    told = progress.Progress({"quick": 1.0, "slow": 90.0})
    told.begin("measuring", [quick, slow])
    told.tick(quick, 100)
    assert told.sums == (100.0, 1000.0)
    told.began = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: 100.0)
    assert told.left() == "15 min"
