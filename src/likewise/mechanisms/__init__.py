"""What carries state between steps: momentum twin, key queue, memory bank.

Their state lies in buffers, so it is saved, resumed and moved between devices with the method that has them.
"""

from likewise.mechanisms.key_queue import KeyQueue
from likewise.mechanisms.memory_bank import MemoryBank
from likewise.mechanisms.momentum_twin import MomentumTwin, cosine_momentum

__all__ = ["KeyQueue", "MemoryBank", "MomentumTwin", "cosine_momentum"]
