"""The CEL engine without its command line.

The package `cel` imports its own command line, and with it a terminal toolkit that takes longer to load than all of
this server (measured: 0.2 s of 0.56 s of CPU). An empty module in its place keeps it out; the engine does not use it.
"""

from __future__ import annotations

import sys
import types

sys.modules.setdefault("cel.cli", types.ModuleType("cel.cli"))

import cel  # noqa: E402 - after its command line is kept out
from cel import stdlib  # noqa: E402 - likewise

__all__ = ["cel", "stdlib"]
