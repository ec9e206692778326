"""The report of a run: one HTML file with figures, pictures, and what they were made from."""

from __future__ import annotations

from likewise.reporting.inputs import ReportInputs
from likewise.reporting.report import render_report, write_report

__all__ = ["ReportInputs", "write_report", "render_report"]
