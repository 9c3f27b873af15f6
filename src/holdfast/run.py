"""The one path: plant, check, press while the probes look, write, judge."""

from typing import Any

from holdfast.cells import measure, plant, press
from holdfast.census import Measuring
from holdfast.engines.base import Engine, Kinds, Watch
from holdfast.experiment import Planting, Pressing
from holdfast.judging import judge, strongest_attacker, well_planted
from holdfast.store import RunFolder
from holdfast.study import Study

KINDS: Kinds = {Planting: plant, Pressing: press, Measuring: measure}
"""How a batch of each kind of cell is run."""


def run(study: Study, folder: RunFolder, engine: Engine, watch: Watch) -> dict[str, Any]:
    """Run a study to its verdicts. What is complete already is not run again.

    Args:
        study: what to plant, press, measure and judge.
        folder: where it is written. `folder.begin` has been called, so the settings are on disk before step 1.
        engine: where the cells are run.
        watch: is told how far it is.

    Returns:
        What `verdict.json` holds.
    """
    # Build the hosts and plant the implants; measure both, and the never-planted controls, at step 0.
    engine.run("planting", study.plantings(), KINDS, folder, watch)
    arms = [arm for arm in study.arms if well_planted(study, arm, folder)]

    # Try every setting of each arm's grid on tuning seeds and validation data; keep the strongest.
    engine.run("choosing attackers", study.tunings(arms), KINDS, folder, watch)
    chosen = {study.arm_name(arm): strongest_attacker(study, arm, folder).setting for arm in arms}

    # Press fresh seeds and their controls with it, while the probes look at test data.
    engine.run("pressing", study.judged(chosen), KINDS, folder, watch)

    # Measure what is not trained.
    engine.run("measuring", study.measurings(), KINDS, folder, watch)

    verdict = judge(study, folder)
    folder.write_verdict(verdict)
    return verdict
