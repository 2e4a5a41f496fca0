"""The one error of the operator's configuration.

Owns `ConfigError`, which every part that reads the configuration raises. Never caught but where the process starts.
"""

from __future__ import annotations


class ConfigError(Exception):
    """The configuration cannot be used; the message says where and why. Mend it and start again."""
