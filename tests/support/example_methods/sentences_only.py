"""SimCSE (Gao et al. 2021, arXiv 2104.08821) in small: a method that reads texts alone."""

from __future__ import annotations

from dataclasses import dataclass

from likewise.batches.batch import Batch
from likewise.data.columns import Needs
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Step
from likewise.networks.text import TextNetwork
from likewise.objectives import nt_xent


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options."""

    temperature: float = 0.05


class SentencesOnly(Method):
    """A sentence must find itself under another dropout mask. Choose it when: testing."""

    name = "sentences_only"
    title = "Sentences only"
    summary = "a sentence finds itself under another dropout mask"
    paper = "Gao 2021, arXiv 2104.08821"
    needs = Needs("text")
    options = Config

    config: Config
    network: TextNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = TextNetwork(context.text_encoder())

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Each sentence twice, under two dropout masks."""
        text = batch.text
        first, second = (self.network.encode_texts(text.tokens, text.mask) for _ in range(2))  # (B, D) each
        return {"first": first, "second": second}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """InfoNCE."""
        loss = nt_xent(embeddings["first"], embeddings["second"], temperature=self.config.temperature)
        return LossOutput(loss, {"nt_xent": loss.detach()})
