"""Two-image reasoning: are statements about pairs of images judged right?"""

from __future__ import annotations

from typing import Any

from likewise.data.columns import REQUIRED, STATEMENT, Needs
from likewise.evaluation.base import Task, task
from likewise.evaluation.context import Context
from likewise.evaluation.statements import STATEMENT_EXTRAS, measure_statements, statement_figures

__all__ = ["NLVR"]


@task("nlvr")
class NLVR(Task):
    """Verdicts on statements about two images, beside what can be told without the images."""

    title = "Two-image reasoning"
    summary = "statements about two images: true or false"
    needs = Needs("image", "image_2", text=STATEMENT, label=REQUIRED)
    abilities = ("compare",)
    order = 17
    monitored = "always"
    figures = statement_figures("Two-image accuracy")
    extras = STATEMENT_EXTRAS

    def run(self, context: Context, options: Any) -> dict[str, Any]:
        """See `Task.run`."""
        return measure_statements(context, "compare")
