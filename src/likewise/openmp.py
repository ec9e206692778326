"""How threads of torch wait, decided before torch is imported.

OpenMP's threads spin while they wait for one another. Beside another busy process a spinning thread holds
the core that the thread it waits for needs, and training falls to a fraction of its speed. Threads that never
spin are slow alone, because waking one takes longer than most waits. A short spin gives most of both.
"""

from __future__ import annotations

import os

__all__ = ["wait_without_spinning"]

_VARIABLES = {
    "OMP_WAIT_POLICY": "PASSIVE",
    # GCC's runtime, which torch's Linux wheels bring; its own default is 300,000. Measured by
    # benchmarks/threads.py: rates alone and beside one busy process against 300,000 alone were .76 and .55
    # at 0, .92 and .46 at 6,000, 1.04 and .36 at 30,000.
    "GOMP_SPINCOUNT": "10000",
    "KMP_BLOCKTIME": "1",  # milliseconds; Intel's and LLVM's
}


def wait_without_spinning() -> None:
    """Let waiting threads sleep after a short spin, unless the user has set any of these variables.

    The runtime reads them when torch is imported; later changes have no effect.
    """
    if not any(name in os.environ for name in _VARIABLES):
        os.environ.update(_VARIABLES)
