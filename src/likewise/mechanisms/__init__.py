"""Parts of methods that carry state between steps: EMA encoder, key queue, memory bank, BatchNorm handling.

Their state is in buffers, so it is saved, resumed and moved between devices with the method.
"""

from likewise.mechanisms.batch_norm import has_batch_norm, in_parts, running_statistics, view_by_view
from likewise.mechanisms.ema_encoder import EMAEncoder, cosine_momentum
from likewise.mechanisms.key_queue import LONGEST_QUEUE, KeyQueue, queue_size_for
from likewise.mechanisms.memory_bank import MemoryBank

__all__ = [
    "LONGEST_QUEUE",
    "EMAEncoder",
    "KeyQueue",
    "MemoryBank",
    "cosine_momentum",
    "has_batch_norm",
    "in_parts",
    "queue_size_for",
    "running_statistics",
    "view_by_view",
]
