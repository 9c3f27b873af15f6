"""Run a claim: its study, its rule, its anchors; and write what came out as `claim.json`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from holdfast.claims.base import Claim, Evidence, Findings, Size
from holdfast.engines import Watch
from holdfast.engines.base import one_thread
from holdfast.experiment import Study
from holdfast.sessions import run_study
from holdfast.stats import judge_claim, judge_mean, part_level
from holdfast.store import RunFolder


def run_claim(
    claim: Claim,
    size: Size,
    *,
    study: Study | None = None,
    out: Path | None = None,
    workers: int | None = None,
    watch: Watch | None = None,
) -> RunFolder:
    """Run a claim's study, or go on with it; judge it; return its folder, which holds `claim.json`."""
    study = study or claim.study(size)
    folder = run_study(study, out=out, workers=workers, watch=watch)
    folder.write_claim(judged(claim, size, study, folder))
    return folder


def judged(claim: Claim, size: Size, study: Study, folder: RunFolder) -> dict[str, Any]:
    """What a claim's rule makes of a complete run, as plain JSON, the same for the same measures."""
    level = part_level(study.look, len(claim.parts))
    evidence = Evidence(study, folder, level)
    findings = _unplanted(claim, evidence) if evidence.faults else claim.judge(evidence)
    with one_thread():
        anchors = claim.anchors()
    return {
        "claim": claim.name,
        "size": size,
        "sentence": claim.sentence,
        "verdict": judge_claim(findings.parts, findings.invalid),
        "parts": [
            {
                "name": found.part.name,
                "what": found.part.effect,
                "effect": found.effect,
                "interval": list(found.interval) if found.interval else None,
                "d": found.part.d,
                "says": found.part.says,
                "necessary": found.part.necessary,
                "units": found.units,
                "verdict": found.verdict,
                "reason": found.reason,
            }
            for found in findings.parts
        ],
        "controls": [asdict(control) for control in findings.controls],
        "anchors": [asdict(anchor) for anchor in anchors],
        "invalid": list(findings.invalid),
        "seeds": max(arm.seeds for arm in study.arms),
        "look": study.look,
        "level": level,
    }


def _unplanted(claim: Claim, evidence: Evidence) -> Findings:
    """Where an implant is not there nothing was pressed, and nothing can be judged."""
    return Findings(parts=[judge_mean(part, [], evidence.level) for part in claim.parts], invalid=evidence.faults)
