"""Recurrent decoders: with soft attention over the memory and without.

Dimensions: B images, K beams an image, R = B K rows, L tokens, N memory tokens, E memory width, D width,
V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likewise.encoders.decoders.base import (
    Decoder,
    DecoderConfig,
    DecoderOutput,
    DecoderState,
    Memory,
    as_beams,
)

__all__ = ["AttendingDecoder", "PlainRecurrentDecoder"]

_NUM_GATES = {"lstm": 4, "gru": 3, "rnn": 1}


class PlainRecurrentDecoder(Decoder):
    """The pooled feature starts the state (Vinyals et al. 2014, arXiv 1411.4555, section 3.1).

    The paper feeds the image as the first input; here it starts the state, so that all L steps run in
    one call.
    """

    def __init__(
        self, config: DecoderConfig, *, memory_dim: int, vocabulary_size: int, max_tokens: int
    ) -> None:
        super().__init__(
            config, memory_dim=memory_dim, vocabulary_size=vocabulary_size, max_tokens=max_tokens
        )
        kinds = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
        self.recurrence = kinds[config.architecture](config.dim, config.dim, batch_first=True)
        self.begin_hidden = nn.Linear(memory_dim, config.dim)
        self.begin_cell = nn.Linear(memory_dim, config.dim) if config.architecture == "lstm" else None

    @classmethod
    def handles(cls, config: DecoderConfig) -> bool:
        """As `Decoder.handles`."""
        return config.architecture != "transformer" and not config.attention

    def _begin(self, memory: Memory) -> dict[str, Tensor]:
        """(B, D) hidden state and, of an LSTM, cell."""
        begun = {"hidden": self.begin_hidden(memory.pooled).tanh()}
        if self.begin_cell is not None:
            begun["cell"] = self.begin_cell(memory.pooled).tanh()
        return begun

    def _run(self, tokens: Tensor, rows: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """(R, L) tokens and the state before them to (R, L, D) and the state after them."""
        given = tuple(value[None].contiguous() for value in rows.values())
        states, after = self.recurrence(
            self.dropout(self.embedding(tokens)), given if self.begin_cell is not None else given[0]
        )
        after = after if isinstance(after, tuple) else (after,)
        return states, {name: value[0] for name, value in zip(rows, after, strict=True)}

    def forward(self, tokens: Tensor, memory: Memory, *, with_attention: bool = False) -> DecoderOutput:
        """As `Decoder.forward`; there is no attention to show."""
        del with_attention
        return DecoderOutput(self.dropout(self._run(tokens, self._begin(memory))[0]), None)

    def start(self, memory: Memory, *, num_beams: int = 1) -> DecoderState:
        """As `Decoder.start`."""
        rows = {name: v.repeat_interleave(num_beams, dim=0) for name, v in self._begin(memory).items()}
        return DecoderState(rows, {})

    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """As `Decoder.step`."""
        states, state.rows = self._run(tokens[:, None], state.rows)
        state.step += 1
        return self.logits(self.dropout(states[:, 0]))


class AttendingDecoder(Decoder):
    """Soft attention over the memory's tokens at every step (Xu et al. 2015, arXiv 1502.03044).

    Equations 1 to 9 and section 4.2.1 (gate beta); the output layer is equation 7. The cell may be an
    LSTM as in the paper, a GRU or a plain RNN. Equation 7 adds the embedding of the token before to the
    output; where the output layer is that same embedding (`tie_weights`), a linear map stands between, or the
    decoder repeats each token.
    """

    def __init__(
        self, config: DecoderConfig, *, memory_dim: int, vocabulary_size: int, max_tokens: int
    ) -> None:
        super().__init__(
            config, memory_dim=memory_dim, vocabulary_size=vocabulary_size, max_tokens=max_tokens
        )
        D, E = config.dim, memory_dim
        self.num_gates = _NUM_GATES[config.architecture]
        self.token_gates = nn.Linear(D, self.num_gates * D)
        self.context_gates = nn.Linear(E, self.num_gates * D, bias=False)
        self.hidden_gates = nn.Linear(D, self.num_gates * D)
        self.begin_hidden = nn.Linear(E, D)
        self.begin_cell = nn.Linear(E, D) if config.architecture == "lstm" else None
        self.memory_keys = nn.Linear(E, D)  # W_a of f_att
        self.hidden_query = nn.Linear(D, D, bias=False)
        self.energy = nn.Linear(D, 1, bias=False)
        self.context_gate = nn.Linear(D, 1)  # beta
        self.hidden_output = nn.Linear(D, D)  # L_h
        self.context_output = nn.Linear(E, D, bias=False)  # L_z
        self.tied_output = nn.Linear(D, D) if config.tie_weights else nn.Identity()

    @classmethod
    def handles(cls, config: DecoderConfig) -> bool:
        """As `Decoder.handles`."""
        return config.architecture != "transformer" and config.attention

    def _begin(self, memory: Memory) -> dict[str, Tensor]:
        """(B, D) states from the mean of the memory's tokens."""
        if memory.mask is None:
            mean = memory.tokens.mean(dim=1)
        else:
            weights = memory.mask[..., None].to(memory.tokens.dtype)
            mean = (memory.tokens * weights).sum(dim=1) / weights.sum(dim=1)
        begun = {"hidden": self.begin_hidden(mean).tanh()}
        if self.begin_cell is not None:
            begun["cell"] = self.begin_cell(mean).tanh()
        return begun

    def _attend(self, hidden: Tensor, keys: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """(B, K, D) hidden states to (B, K, E) contexts and (B, K, N) weights; keys: (B, N, D)."""
        query = self.hidden_query(hidden)
        energies = self.energy((keys[:, None] + query[:, :, None]).tanh()).squeeze(-1)  # (B, K, N)
        if memory.mask is not None:
            energies = energies.masked_fill(~memory.mask[:, None], float("-inf"))
        weights = energies.softmax(dim=-1)
        return self.context_gate(hidden).sigmoid() * (weights @ memory.tokens), weights

    def _cell(self, token_gates: Tensor, context: Tensor, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """One step of the recurrence; token_gates: (..., gates D), context: (..., E), rows: (..., D)."""
        seen, kept = token_gates + self.context_gates(context), self.hidden_gates(rows["hidden"])
        if self.num_gates == 1:
            return {"hidden": (seen + kept).tanh()}
        if self.num_gates == 3:
            reset_seen, update_seen, new_seen = seen.chunk(3, dim=-1)
            reset_kept, update_kept, new_kept = kept.chunk(3, dim=-1)
            update = (update_seen + update_kept).sigmoid()
            new = (new_seen + (reset_seen + reset_kept).sigmoid() * new_kept).tanh()
            return {"hidden": new + update * (rows["hidden"] - new)}
        write, forget, new, read = (seen + kept).chunk(4, dim=-1)
        cell = forget.sigmoid() * rows["cell"] + write.sigmoid() * new.tanh()
        return {"hidden": read.sigmoid() * cell.tanh(), "cell": cell}

    def _output(self, embedded: Tensor, hidden: Tensor, context: Tensor) -> Tensor:
        """L_o's input: (..., D)."""
        mixed: Tensor = embedded + self.hidden_output(self.dropout(hidden)) + self.context_output(context)
        kept: Tensor = self.dropout(self.tied_output(mixed.tanh()))
        return kept

    def forward(self, tokens: Tensor, memory: Memory, *, with_attention: bool = False) -> DecoderOutput:
        """As `Decoder.forward`; what needs no recurrence is computed for all steps at once."""
        embedded = self.dropout(self.embedding(tokens))  # (B, L, D)
        token_gates, keys = self.token_gates(embedded), self.memory_keys(memory.tokens)
        rows, hidden, contexts, looked = self._begin(memory), [], [], []
        for gates in token_gates.unbind(dim=1):
            context, weights = self._attend(rows["hidden"][:, None], keys, memory)
            rows = self._cell(gates, context[:, 0], rows)
            hidden.append(rows["hidden"])
            contexts.append(context[:, 0])
            looked.append(weights[:, 0])
        states = self._output(embedded, torch.stack(hidden, dim=1), torch.stack(contexts, dim=1))
        return DecoderOutput(states, torch.stack(looked, dim=1) if with_attention else None)

    def start(self, memory: Memory, *, num_beams: int = 1) -> DecoderState:
        """As `Decoder.start`."""
        rows = {name: v.repeat_interleave(num_beams, dim=0) for name, v in self._begin(memory).items()}
        return DecoderState(rows, {"memory": memory, "keys": self.memory_keys(memory.tokens)})

    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """As `Decoder.step`; beams of an image share its keys."""
        memory, embedded = state.fixed["memory"], self.dropout(self.embedding(tokens))
        hidden = as_beams(state.rows["hidden"], len(memory.tokens))  # (B, K, D)
        context = self._attend(hidden, state.fixed["keys"], memory)[0].flatten(0, 1)  # (R, E)
        state.rows = self._cell(self.token_gates(embedded), context, state.rows)
        state.step += 1
        return self.logits(self._output(embedded, state.rows["hidden"], context))
