"""What a tool is, before the SDK knows of it.

Owns the form of a tool and the last line of defence around its work. Invariant: `use` returns an answer whatever the
arguments are and whatever goes wrong, except that it lets a cancellation pass. A refusal is a sentence that a model can
act on: what happened, and what to do next. Knows no SDK, so that tools are tested without it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from watchbill_agent.claude.arguments import Arguments, ToolError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool. `work` gets the arguments and returns the answer; it raises ToolError to refuse."""

    name: str
    description: str
    properties: Mapping[str, Any]  #: JSON schema of each argument
    required: tuple[str, ...] = ()
    is_read_only: bool = False  #: it changes nothing, so several may be used at once
    work: Callable[[Arguments], Awaitable[str]]

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of the arguments."""
        return {
            "type": "object",
            "properties": dict(self.properties),
            "required": list(self.required),
            "additionalProperties": False,
        }


@dataclass(frozen=True, slots=True)
class Said:
    """What the model is told."""

    text: str
    is_error: bool = field(default=False, kw_only=True)


async def use(tool: Tool, arguments: Mapping[str, Any]) -> Said:
    """Use a tool once. Raises nothing but a cancellation."""
    try:
        return Said(await tool.work(Arguments(arguments)))
    except ToolError as refusal:
        return Said(str(refusal), is_error=True)
    except Exception as error:  # a defect of a tool costs one answer, not the session
        logger.exception("the tool %s failed", tool.name)
        text = f"The tool {tool.name} failed ({type(error).__name__}). This is a defect of Watchbill: go on without it."
        return Said(text, is_error=True)
