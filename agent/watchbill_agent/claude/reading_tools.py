"""Tools that read: shared-context, and the results of the Tasks that this one may know of.

Owns read_context and task_result. Invariant: they change nothing, wait for nobody, and answer with a bounded text; the
result of a Task is given when it is a dependency of this one or was submitted by this attempt.
"""

from __future__ import annotations

import asyncio
import re

from watchbill_agent.claude.arguments import Arguments, ToolError
from watchbill_agent.claude.shared_reading import Binary, Listing, Part, Parts, parse_path, read
from watchbill_agent.claude.toolbox import Tool
from watchbill_agent.runners import Order
from watchbill_coordination.core.messages import ChildEnded

MIN_LIMIT, DEFAULT_LIMIT, MAX_LIMIT = 200, 16_000, 40_000  #: bytes of one answer
RESULT_BYTES = 8_000  #: of one file of a result that task_result shows at once
MAX_OFFSET = 2**40
SHOWN_NAMES = 200  #: of a folder, at once
ANSWERS = ("output.json", "answer.md", "stdout")  #: files of a result that are shown, not only named
MAX_NAME = 253
MAX_WISH = 40  #: characters that are left of the name under which a Task was submitted

_MADE_NAME = re.compile(r"(?P<wish>.+)-[0-9a-f]{8}")


class ReadingTools:
    """The reading tools of one attempt."""

    def __init__(self, order: Order) -> None:
        self._order = order

    def tools(self) -> tuple[Tool, ...]:
        """Return them."""
        return (
            Tool(
                name="read_context",
                description="Read below shared-context: the project's files (requirements.md, architecture.md, "
                "project-state.md, input/…) and results/<uid>/ of finished Tasks. A folder is listed, a text file is "
                "shown in parts.",
                properties={
                    "path": {"type": "string", "description": "Path below shared-context; empty lists its top."},
                    "offset": {
                        "type": "integer",
                        "minimum": 0,
                        "description": "Where to begin: a byte of a file, or a name of a folder. Default 0.",
                    },
                    "limit": {
                        "type": "integer",
                        "description": f"Bytes to show, {MIN_LIMIT} to {MAX_LIMIT}. Default {DEFAULT_LIMIT}.",
                    },
                },
                is_read_only=True,
                work=self.read_context,
            ),
            Tool(
                name="task_result",
                description="Show the result of another Task: one that this Task depends on, or one that you submitted "
                "with submit_task. Does not wait: of a Task that has not ended it says so.",
                properties={"name": {"type": "string", "description": "Name of the Task."}},
                required=("name",),
                is_read_only=True,
                work=self.task_result,
            ),
        )

    async def read_context(self, arguments: Arguments) -> str:
        """Show a part of a file, or a folder."""
        parts = parse_path(self._order.context, arguments.text("path", 4096, default=""))
        offset = arguments.whole("offset", 0, MAX_OFFSET) or 0
        limit = arguments.whole("limit", 1, MAX_OFFSET) or DEFAULT_LIMIT
        found = await asyncio.to_thread(read, self._order.context, parts, offset, max(MIN_LIMIT, min(limit, MAX_LIMIT)))
        return show(parts, found, offset)

    async def task_result(self, arguments: Arguments) -> str:
        """Show what became of a Task."""
        said = arguments.text("name", MAX_NAME).strip()
        dependencies, children = self._order.assign.dependencies, self._order.exchange.children()
        name = find_name(said, (*dependencies, *children))
        if name is None:
            known = ", ".join((*dependencies, *children))
            can = f"You may ask for: {known}." if known else "This Task has no dependencies and submitted no Task."
            raise ToolError(f"{said!r} is neither a dependency of this Task nor submitted by it. {can}")
        if name in dependencies:
            return await asyncio.to_thread(self._show_result, name, dependencies[name])
        ended = children[name]
        if ended is None:
            return (
                f"The Task {name} has not ended: it waits or runs. This tool does not wait: do other work and ask "
                "again later, or end your answer without it."
            )
        if ended.phase != "Succeeded":
            return describe_end(ended)
        return await asyncio.to_thread(self._show_result, name, ended.uid)

    def _show_result(self, name: str, uid: str) -> str:
        """Show the answers of a result and name its other files."""
        folder = ("results", uid)
        try:
            listing = read(self._order.context, folder, 0, 0)
        except ToolError:
            return f"The Task {name} Succeeded; its result is not kept any more."
        names = listing.names if isinstance(listing, Listing) else ()
        lines = [f"The Task {name} Succeeded. Its result lies in results/{uid}/."]
        for answer in (answer for answer in ANSWERS if answer in names):
            try:
                part = read(self._order.context, (*folder, answer), 0, RESULT_BYTES)
            except ToolError as error:
                lines.append(str(error))
                continue
            lines.append(f"--- {answer}\n{show((*folder, answer), part, 0)}")
        others = [other for other in names if other not in ANSWERS]
        if others:
            more = f" and {len(others) - SHOWN_NAMES} more" if len(others) > SHOWN_NAMES else ""
            lines.append(f"More files, for read_context: {', '.join(others[:SHOWN_NAMES])}{more}.")
        elif len(lines) == 1:
            lines.append("It holds no files.")
        return "\n".join(lines)


def find_name(said: str, names: tuple[str, ...]) -> str | None:
    """Return the name that is meant: also the wish by which a Task was submitted, if only one fits."""
    if said in names:
        return said
    wish = re.sub(r"[^a-z0-9]+", "-", said.lower()).strip("-")[:MAX_WISH].strip("-") or "task"
    fitting = [name for name in names if (made := _MADE_NAME.fullmatch(name)) and made["wish"] == wish]
    return fitting[0] if len(fitting) == 1 else None


def describe_end(ended: ChildEnded) -> str:
    """Say how a Task ended that did not succeed."""
    why = f": {ended.text.rstrip('.')}" if ended.text else ""
    return f"The Task {ended.name} ended without a result, as {ended.phase}{why}."


def show(parts: Parts, found: Part | Binary | Listing, offset: int) -> str:
    """Return what was found as a text for a model, with the way to what follows."""
    path = "/".join(parts) or "shared-context"
    match found:
        case Binary(size):
            return f"{path} is no text: a binary file of {size:,} bytes."
        case Listing(names):
            shown = names[offset : offset + SHOWN_NAMES]
            left = len(names) - offset - len(shown)
            more = f"\n({left:,} more: go on with offset={offset + len(shown)})" if left > 0 else ""
            more += "" if found.is_whole else "\n(the folder has more names than can be listed)"
            empty = f"{path} has {len(names):,} names." if names else f"{path} is an empty folder."
            return "\n".join(shown) + more if shown else empty
        case Part(text, begin, end, size):
            if not size:
                return f"{path} is empty."
            if begin == 0 and end >= size:
                return text
            more = f"; go on with offset={end}" if end < size else ""
            return f"({path}, bytes {begin:,} to {end:,} of {size:,}{more})\n{text}"
