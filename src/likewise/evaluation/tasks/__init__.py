"""The evaluation tasks, one file each; `likewise.evaluation.registry` finds them here."""
