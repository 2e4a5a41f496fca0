"""`python -m watchbill_broker`."""

from __future__ import annotations

import sys

from watchbill_broker.main import run_broker

if __name__ == "__main__":
    sys.exit(run_broker())
