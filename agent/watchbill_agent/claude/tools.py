"""The tools that every session has: an MCP server in this process, called `watchbill`.

Owns which tools there are and what the SDK makes of them. All roles get all of them: none changes a file, and what an
attempt may ask for is decided by the operator, not by the tool. Invariant: imports the SDK only when it is called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from watchbill_agent.claude.asking_tools import AskingTools
from watchbill_agent.claude.reading_tools import ReadingTools
from watchbill_agent.claude.toolbox import Tool, use
from watchbill_agent.runners import Order

if TYPE_CHECKING:
    from claude_agent_sdk import McpSdkServerConfig

SERVER = "watchbill"  #: a model sees mcp__watchbill__<tool>

Handler = Callable[[Any], Awaitable[dict[str, Any]]]


def list_tools(order: Order) -> tuple[Tool, ...]:
    """Return the tools of an attempt."""
    return (*AskingTools(order).tools(), *ReadingTools(order).tools())


def build_tools(order: Order) -> tuple[McpSdkServerConfig, tuple[str, ...]]:
    """Return the server for `mcp_servers[SERVER]`, and the names under which its tools are allowed."""
    from claude_agent_sdk import SdkMcpTool, ToolAnnotations, create_sdk_mcp_server

    tools = list_tools(order)
    offered: list[SdkMcpTool[Any]] = [
        SdkMcpTool(
            name=tool.name,
            description=tool.description,
            input_schema=tool.schema,
            handler=build_handler(tool),
            annotations=ToolAnnotations(readOnlyHint=tool.is_read_only, destructiveHint=False, openWorldHint=False),
        )
        for tool in tools
    ]
    return create_sdk_mcp_server(SERVER, tools=offered), tuple(f"mcp__{SERVER}__{tool.name}" for tool in tools)


def build_handler(tool: Tool) -> Handler:
    """Return the tool as the SDK calls it."""

    async def handle(arguments: dict[str, Any]) -> dict[str, Any]:
        said = await use(tool, arguments)
        return {"content": [{"type": "text", "text": said.text}], "is_error": said.is_error}

    return handle
