"""Judge a complete run of a claim's study by its rule, and write what came out as `claim.json`."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from holdfast.claims.base import Claim, Evidence, Findings, Size
from holdfast.engines.base import one_thread
from holdfast.stats import judge_claim, judge_mean, part_level
from holdfast.store import RunFolder
from holdfast.study import Study


def settling(claim: Claim, size: Size, study: Study) -> Callable[[RunFolder], None]:
    """What is done with a complete run of a claim's study: it is judged, and `claim.json` written."""
    return lambda folder: folder.write_claim(judged(claim, size, study, folder))


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
        "verdict": judge_claim(findings.parts, findings.faults),
        "parts": [
            {
                "name": found.part.name,
                "what": found.part.effect,
                "effect": found.effect,
                "interval": list(found.interval) if found.interval else None,
                "d": found.part.d,
                "about": found.part.about,
                "says": found.part.says,
                "necessary": found.part.necessary,
                "units": found.units,
                "verdict": found.verdict,
                "reason": found.reason,
            }
            for found in findings.parts
        ],
        "controls": [asdict(control) for control in findings.controls],
        "anchors": [asdict(anchor) for anchor in (*findings.anchors, *anchors)],
        "curves": [asdict(curve) for curve in findings.curves],
        "invalid": findings.faults,
        "seeds": study.seeds,
        "look": study.look,
        "level": level,
    }


def _unplanted(claim: Claim, evidence: Evidence) -> Findings:
    """Where an implant is not there nothing was pressed, and nothing can be judged."""
    return Findings(parts=[judge_mean(part, [], evidence.level) for part in claim.parts], invalid=evidence.faults)
