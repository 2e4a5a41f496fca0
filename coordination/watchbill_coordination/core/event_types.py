"""Every type of event by its name in a record.

Owns the list that the codec reads records with. Invariant: a class that is missing here cannot be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from watchbill_coordination.core import events, working_events
from watchbill_coordination.core.events import Event


def _list_types(module: ModuleType) -> dict[str, type[Event]]:
    """The event classes that a module defines, by name."""
    values = vars(module).values()
    classes = (value for value in values if isinstance(value, type) and issubclass(value, Event))
    return {value.__name__: value for value in classes if value is not Event}


EVENT_TYPES: Mapping[str, type[Event]] = {**_list_types(events), **_list_types(working_events)}
