"""The report: one self-contained HTML file, and its figures."""

from holdfast.report.page import write_report

__all__ = ["write_report"]
