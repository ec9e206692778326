"""Visual entailment: are statements about images judged right?"""

from __future__ import annotations

from typing import Any

from likewise.data.columns import REQUIRED, STATEMENT, Needs
from likewise.evaluation.base import Task, task
from likewise.evaluation.context import Context
from likewise.evaluation.statements import STATEMENT_EXTRAS, measure_statements, statement_figures

__all__ = ["Entailment"]


@task("entailment")
class Entailment(Task):
    """Verdicts on statements about one image, beside what can be told without the image."""

    title = "Visual entailment"
    summary = "statements about an image: entailed, contradicted, or neither"
    needs = Needs("image", text=STATEMENT, label=REQUIRED)
    abilities = ("entail",)
    order = 16
    monitored = "always"
    figures = statement_figures("Entailment accuracy")
    extras = STATEMENT_EXTRAS

    def run(self, context: Context, options: Any) -> dict[str, Any]:
        """See `Task.run`."""
        return measure_statements(context, "entail")
