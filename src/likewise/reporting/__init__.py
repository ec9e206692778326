"""The report of a run: one HTML file with figures, charts and images."""

from __future__ import annotations

from likewise.reporting.collect import report
from likewise.reporting.inputs import ReportInputs
from likewise.reporting.page import render_report, write_report

__all__ = ["ReportInputs", "render_report", "report", "write_report"]
