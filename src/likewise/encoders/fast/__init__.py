"""Hand-tuned layers: values and gradients of transformers' modules, with less time and memory.

One switch turns all of them off: the environment variable `LIKEWISE_FAST=0`, or `with disabled():` around the
code that builds or loads an encoder. It then consists of transformers' own modules, as export and compilation
need them. Names of weights do not change, so a model saved with either opens with the other.
"""

from likewise.encoders.fast.switch import disabled, enabled

__all__ = ["disabled", "enabled"]
