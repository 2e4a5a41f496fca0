"""The short names of models.

Owns the one table of aliases. Pure. Invariant: a name that stands in no table is a model's id and stays as it is, so a
model of tomorrow needs no change here; what the operator's settings say goes before this table. Never asks whether a
model exists: its provider knows that.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Alias → id, as the Claude Code CLI 2.1.330 resolves them.
MODEL_ALIASES: Mapping[str, str] = {
    "haiku": "claude-haiku-5-5",
    "sonnet": "claude-sonnet-5-5",
    "opus": "claude-opus-5-5",
    "fable": "claude-fable-5-2",
}


def resolve_model(name: str, overrides: Mapping[str, str], aliases: Mapping[str, str] = MODEL_ALIASES) -> str:
    """The id of the model that an alias stands for; an id is returned as it is, and nothing for nothing."""
    return overrides.get(name) or aliases.get(name) or name
