"""How a session is set up for the SDK.

Owns the translation of settings, role and task into the SDK's options. Invariant: what no rule allows is denied without
asking; nothing that lies in a working folder steers the session unless the Agent says so; long texts go by file, since
a command line is short and everybody can read it. Imports the SDK: imported by a first session alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from claude_agent_sdk import ClaudeAgentOptions, SettingSource

from watchbill_agent.claude.roles import find_tools
from watchbill_agent.claude.settings import ClaudeSettings

MAX_MESSAGE_BYTES = 64 * 2**20  #: of one line of Claude Code; a longer one ends the session
MAX_SCHEMA = 100_000  #: characters: a schema goes by the command line


class SetupError(Exception):
    """The session cannot be set up as it is asked for; trying again does not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the options of one session follow from."""

    settings: ClaudeSettings
    role: str
    directory: Path  #: working folder
    readable: tuple[Path, ...]  #: other folders that may be read
    environment: Mapping[str, str]
    system_prompt: Path  #: file with the text that follows Claude Code's own
    servers: Mapping[str, Any]  #: MCP servers by name
    server_tools: Sequence[str]  #: names of their tools
    output_schema: Mapping[str, Any]
    budget_usd: float | None
    session: str
    is_continued: bool
    program: Path | None = None  #: instead of the Claude Code that came with the SDK


def build_options(setup: Setup, hear: Callable[[str], None]) -> ClaudeAgentOptions:
    """Return the SDK's options; `hear` takes a line of stderr. Raises SetupError."""
    settings = setup.settings
    role = find_tools(setup.role)
    tools = role.tools if settings.tools is None else settings.tools
    rules = role.rules if settings.allowed_tools is None else settings.allowed_tools
    return ClaudeAgentOptions(
        model=settings.model,
        fallback_model=settings.fallback_model if settings.fallback_model != settings.model else None,
        cwd=setup.directory,
        add_dirs=[*setup.readable],
        env=dict(setup.environment),
        system_prompt={"type": "preset", "preset": "claude_code"},
        extra_args={"append-system-prompt-file": str(setup.system_prompt)},
        setting_sources=[cast("SettingSource", source) for source in settings.setting_sources],
        strict_mcp_config="project" not in settings.setting_sources,
        tools=[*tools],
        allowed_tools=[*rules, *setup.server_tools],
        permission_mode="dontAsk",
        mcp_servers=dict(setup.servers),
        max_turns=settings.max_turns,
        max_budget_usd=setup.budget_usd,
        output_format=_build_format(setup.output_schema),
        verbatim_prompts=True,
        max_buffer_size=MAX_MESSAGE_BYTES,
        stderr=hear,
        session_id=None if setup.is_continued else setup.session,
        resume=setup.session if setup.is_continued else None,
        cli_path=setup.program,
    )


def _build_format(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    if not schema:
        return None
    if len(json.dumps(schema)) > MAX_SCHEMA:
        raise SetupError(f"the outputSchema is longer than {MAX_SCHEMA} characters")
    return {"type": "json_schema", "schema": dict(schema)}
