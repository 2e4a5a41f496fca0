"""`python -m watchbill_broker`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from watchbill_broker.main import run_broker
    except ModuleNotFoundError as error:
        sys.exit(f"the broker needs the package {error.name}, which is not installed: pip install 'watchbill[claude]'")
    sys.exit(run_broker())
