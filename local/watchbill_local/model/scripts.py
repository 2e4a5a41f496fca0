"""Which script plays: found by a phrase that its prompt holds; any other prompt is told what this model is.

Owns the table of phrases. The prompts of the quickstart hold them; a prompt of a user's own may hold one too.
"""

from __future__ import annotations

from collections.abc import Mapping

from watchbill_local.model.building import play_tally
from watchbill_local.model.conversation import Conversation
from watchbill_local.model.reviewing import play_review
from watchbill_local.model.script import Play, Script, build_reply
from watchbill_local.model.searching import play_definitions, play_markers, play_overview
from watchbill_local.model.sse import Reply

SCRIPTS: Mapping[str, Play] = {
    "overview of a folder": play_overview,
    "where things are defined": play_definitions,
    "what was left open": play_markers,
    "a program that counts": play_tally,
    "review of the results": play_review,
}
QUOTED = 80  #: characters of an unknown prompt that are said back


def find_reply(conversation: Conversation) -> Reply:
    """The next answer in this conversation."""
    asked = conversation.prompt.lower()
    known = (play for phrase, play in SCRIPTS.items() if phrase in asked)
    return build_reply(conversation, next(known, play_unknown))


def play_unknown(conversation: Conversation) -> Script:
    """Say that this is a script, what it was asked, and how to get a real answer."""
    said = " ".join(conversation.prompt.split())
    quoted = said if len(said) <= QUOTED else f"{said[:QUOTED]}…"
    return (
        f"I am a scripted model and know the prompts of the quickstart alone. You asked ({len(said.split())} words): "
        f"“{quoted}”. A real model answers this with a real key."
    )
    yield  # a script is a generator, this one without turns
