"""Run folders: append-only files, one writer each."""

from holdfast.store.folder import RunFolder
from holdfast.store.measures import Measures, Recorder
from holdfast.store.runs import all_runs, find_run, runs_root, shown, study_of

__all__ = ["Measures", "Recorder", "RunFolder", "all_runs", "find_run", "runs_root", "shown", "study_of"]
