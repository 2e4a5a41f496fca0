"""What an agent of each role may do, and what it is told about its duty.

Owns the tools by role and the texts in prompts/. Invariant: blue and red neither write nor run anything; green works
in its own folder. Reading needs no rule: Claude Code reads in the working folder and in the folders that it is given,
and nowhere else. Pure but for reading the texts, which come with the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROMPTS = Path(__file__).parent / "prompts"
READ = ("Read", "Glob", "Grep")
OWN_FOLDER = "Edit(./**)"  #: a rule that covers Write too; a bare `Write` would allow writing anywhere


@dataclass(frozen=True, slots=True)
class RoleTools:
    """The tools that exist, and the rules by which they run unasked; what no rule allows is denied."""

    tools: tuple[str, ...]
    rules: tuple[str, ...] = ()


READER = RoleTools(READ)
TOOLS_BY_ROLE: Mapping[str, RoleTools] = {
    "blue": READER,
    "red": READER,
    "green": RoleTools(("Bash", "Read", "Edit", "Write", "Glob", "Grep"), ("Bash", OWN_FOLDER)),
}
OTHER = RoleTools((*READ, "Edit", "Write"), (OWN_FOLDER,))  #: for roles of the user's own


def find_tools(role: str) -> RoleTools:
    """Return what agents of that role may use, unless their Agent says otherwise."""
    return TOOLS_BY_ROLE.get(role, OTHER)


def build_system_prompt(role: str, addition: str) -> str:
    """Return the text that follows Claude Code's own system prompt: all roles' part, the role's, the user's."""
    own = role if role in TOOLS_BY_ROLE else "default"
    parts = [(PROMPTS / f"{name}.md").read_text(encoding="utf-8") for name in ("all", own)]
    return "\n\n".join(part.strip() for part in (*parts, addition) if part.strip()) + "\n"
