"""How threads of torch wait, decided before torch is imported.

OpenMP's threads spin while they wait for one another. Beside another busy process a spinning thread holds
the core that the thread it waits for needs, and training falls to a fraction of its speed.
"""

from __future__ import annotations

import os

__all__ = ["wait_without_spinning"]

_VARIABLES = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",  # GCC's runtime, which torch's Linux wheels bring
    "KMP_BLOCKTIME": "0",  # Intel's and LLVM's
}


def wait_without_spinning() -> None:
    """Let waiting threads sleep, unless the user has set any of these variables.

    The runtime reads them when torch is imported; later changes have no effect.
    """
    if not any(name in os.environ for name in _VARIABLES):
        os.environ.update(_VARIABLES)
