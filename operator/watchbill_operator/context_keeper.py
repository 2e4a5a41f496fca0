"""Keeping shared-context what the ConfigMaps offer, beside the loop.

Owns the one thread that works on the shelf and on the volume, and when it does. Invariant: ConfigMaps are handed over
in the order in which they were seen, and only that thread touches them afterwards; what came of it goes to the loop as
commands, and what was refused to Events of the ConfigMaps and to the Tasks that wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from watchbill_coordination.core.state import State
from watchbill_coordination.storage.layout import Layout
from watchbill_operator.conditions import Finding
from watchbill_operator.context import Settled, SharedContext
from watchbill_operator.loop import Inbox
from watchbill_operator.notices import Subject, parse_subject
from watchbill_operator.observations import Observation

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  #: after the volume failed

Report = Callable[[Subject, Finding], None]


class ContextKeeper:
    """Follows the labelled ConfigMaps."""

    def __init__(self, layout: Layout, state: State, inbox: Inbox, report: Report) -> None:
        self._shared = SharedContext(layout)
        self._state = state
        self._inbox = inbox
        self._report = report
        self.refused: dict[str, Finding] = {}  #: folders that are offered and cannot be had, by path
        self.refused_changed: Callable[[set[str]], None] = lambda paths: None
        self._seen: list[Observation] = []
        self._subjects: dict[str, Subject] = {}  #: by name
        self._told: dict[str, tuple[Finding, ...]] = {}
        self._listed = False
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="context")

    def see(self, observation: Observation) -> None:
        """Note a ConfigMap."""
        self._seen.append(observation)
        self._subjects[observation.name] = parse_subject("ConfigMap", "v1", observation.body)
        self._wake.set()

    def tell_gone(self) -> list[Observation]:
        """Of each ConfigMap that was seen, that it is gone: true for those that a LIST begun later lacks."""
        metadata = [{"name": s.name, "uid": s.uid, "namespace": s.namespace} for s in self._subjects.values()]
        return [Observation("ConfigMap", {"metadata": each}, deleted=True) for each in metadata]

    def listed(self) -> None:
        """All ConfigMaps that there are were seen: from now on one that is missing counts as gone."""
        self._listed = True
        self._wake.set()

    def committed(self) -> None:
        """What the log calls published has changed."""
        self._wake.set()

    async def run(self) -> None:
        """Settle whenever something changed, until cancelled."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._shared.clear_temporary)
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._inbox.settled.wait()
            seen, self._seen = self._seen, []
            published = dict(self._state.context)
            try:
                settled = await loop.run_in_executor(self._thread, self._settle, seen, published, self._listed)
            except OSError as error:
                logger.warning("shared context waits: %s", error)
                loop.call_later(RETRY_SECONDS, self._wake.set)
                continue
            for command in settled.commands:
                self._inbox.submit(command)
            self._tell(settled.findings)
            self._note_refused(settled.refused)

    def shut(self) -> None:
        """Take no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _settle(self, seen: list[Observation], published: Mapping[str, str], listed: bool) -> Settled:
        """In the thread: take in what was seen, then do one round."""
        for observation in seen:
            if observation.is_leaving:
                self._shared.shelf.forget(observation.name)
            else:
                self._shared.shelf.see(observation.body)
        return self._shared.settle(published, listed=listed)

    def _tell(self, findings: Mapping[str, tuple[Finding, ...]]) -> None:
        """Say what is new: an Event for each ConfigMap that it is true of, one line in the log for all of them."""
        logged = set()
        for name, found in findings.items():
            for finding in found:
                if finding in self._told.get(name, ()):
                    continue
                if finding not in logged:
                    logger.warning("ConfigMap %s: %s: %s", name, finding.reason, finding.message)
                logged.add(finding)
                if subject := self._subjects.get(name):
                    self._report(subject, finding)
        self._told = dict(findings)

    def _note_refused(self, refused: Mapping[str, Finding]) -> None:
        """Remember what is refused now, and name the paths of which something else is so than before."""
        changed = {path for path in refused.keys() | self.refused if refused.get(path) != self.refused.get(path)}
        if changed:
            self.refused = dict(refused)
            self.refused_changed(changed)
