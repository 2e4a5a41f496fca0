"""`python -m watchbill_operator [--config FILE]`: run the operator until SIGTERM.

Exit codes: 0 stopped as asked, 65 corrupt log, 70 unexpected error, 74 the volume or the API failed, 75 another
operator leads, 78 configuration.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from watchbill_operator.config import ConfigError, load_config
from watchbill_operator.endings import EX_CONFIG
from watchbill_operator.main import run


def main() -> int:
    """Parse the command line, run, and say in one sentence what went wrong."""
    parser = argparse.ArgumentParser(prog="watchbill-operator", description="The Watchbill operator.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings; the environment goes first")
    arguments = parser.parse_args()
    os.umask(0o022)  # agents and brokers, other users, read what it writes for them; what is private says so itself
    try:
        config = load_config(os.environ, arguments.config)
    except ConfigError as error:
        sys.stderr.write(f"watchbill-operator: {error}\n")
        return EX_CONFIG
    logging.basicConfig(level=config.log_level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    code, sentence = run(config)
    if sentence:
        sys.stderr.write(f"watchbill-operator: {sentence}\n")
    return code


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    sys.stderr.flush()
    # Not sys.exit: threads that wait for an answer of the API would hold the process for up to ten seconds.
    os._exit(status)
