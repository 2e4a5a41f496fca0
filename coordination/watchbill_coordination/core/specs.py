"""What a user asked for, as values: the specs of Task and Agent, parsed from their API form.

Owns the names of the fields that decide something, and their defaults (the CRDs carry the same defaults; these
serve a log that was written before a default existed). Parsing is total on what the API server admitted: an
unknown member is ignored, a missing one gets its default. Never validates: that is the API server's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NewType

TaskUid = NewType("TaskUid", str)  #: metadata.uid of a Task; the name is a label for people
AgentName = NewType("AgentName", str)  #: metadata.name of an Agent, at most 52 characters
ReplicaName = NewType("ReplicaName", str)  #: `<agent>-<n>`: one member of the pool, its pod and its workspace

DEFAULT_PRIORITY = 500
MAX_REPLICAS = 64  #: of one Agent; a wish for more is bounded, and a condition says so
TYPES_BY_ROLE: Mapping[str, tuple[str, ...]] = {
    "blue": ("search", "analysis", "pattern"),
    "green": ("codegen", "implementation", "fix"),
    "red": ("security-audit", "architecture-review"),
}
MODEL_BY_ROLE: Mapping[str, str] = {"blue": "haiku", "green": "sonnet", "red": "opus"}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed attempt is followed by another: after `initial · multiplier^(retries so far)` seconds."""

    max_retries: int = 2
    initial_delay_seconds: float = 5.0
    backoff_multiplier: float = 2.0
    max_delay_seconds: float = 300.0
    prefer_same_agent_seconds: float = 0.0  #: how long a retry waits for the replica that had the last attempt


@dataclass(frozen=True, slots=True)
class LockRequest:
    """A named resource that the task holds while it runs."""

    name: str
    shared: bool = False  #: False: nobody else may hold it


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """The decisive fields of a Task. `raw` is the API form, handed to the agent as it is."""

    raw: Mapping[str, Any]
    task_type: str = ""
    role: str = ""
    agent_ref: str = ""
    priority: int = DEFAULT_PRIORITY  #: 0 to 1000, higher is more important
    depends_on: tuple[str, ...] = ()  #: names of Tasks
    locks: tuple[LockRequest, ...] = ()
    timeout_seconds: float = 3600.0  #: run time of one attempt
    retry: RetryPolicy = RetryPolicy()
    context: tuple[str, ...] = ()  #: paths below shared-context
    suspend: bool = False
    cancel: bool = False
    ttl_seconds_after_finished: float | None = None  #: None: kept until somebody deletes it
    output_schema: Mapping[str, Any] | None = None  #: JSON schema that the result must satisfy

    @property
    def route(self) -> tuple[str, str, str]:
        """Which pools may do it: (agentRef, role, type), each empty when it does not matter."""
        return (self.agent_ref, self.role, self.task_type)


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """The decisive fields of an Agent. The rest of its spec shapes pods and stays out of the log."""

    role: str
    replicas: int = 1
    tasks_per_replica: int = 1
    task_types: tuple[str, ...] = ()
    suspend: bool = False
    drain_seconds: float = 30.0
    runner: str = "command"  #: command | claude
    budget_per_task_usd: float | None = None  #: all attempts of a task together; None: no limit

    @property
    def wanted(self) -> int:
        """How many replicas the pool shall have."""
        return max(0, min(self.replicas, MAX_REPLICAS))

    def takes(self, agent: AgentName, route: tuple[str, str, str]) -> bool:
        """Whether this pool may do a task of that route."""
        agent_ref, role, task_type = route
        return (
            (not agent_ref or agent_ref == agent)
            and (not role or role == self.role)
            and (not task_type or task_type in self.task_types)
        )


def parse_task_spec(raw: Mapping[str, Any]) -> TaskSpec:
    """Read the API form of a Task's spec."""
    retry = raw.get("retryPolicy") or {}
    default = RetryPolicy()
    ttl = raw.get("ttlSecondsAfterFinished")
    return TaskSpec(
        raw=raw,
        task_type=raw.get("type") or "",
        role=raw.get("role") or "",
        agent_ref=raw.get("agentRef") or "",
        priority=int(raw.get("priority", DEFAULT_PRIORITY)),
        depends_on=tuple(raw.get("dependsOn") or ()),
        locks=tuple(LockRequest(lock["name"], lock.get("mode") == "Shared") for lock in raw.get("locks") or ()),
        timeout_seconds=float(raw.get("timeoutSeconds", 3600)),
        retry=RetryPolicy(
            max_retries=int(retry.get("maxRetries", default.max_retries)),
            initial_delay_seconds=float(retry.get("initialDelaySeconds", default.initial_delay_seconds)),
            backoff_multiplier=float(retry.get("backoffMultiplier", default.backoff_multiplier)),
            max_delay_seconds=float(retry.get("maxDelaySeconds", default.max_delay_seconds)),
            prefer_same_agent_seconds=float(retry.get("preferSameAgentSeconds", default.prefer_same_agent_seconds)),
        ),
        context=tuple(raw.get("context") or ()),
        suspend=bool(raw.get("suspend", False)),
        cancel=bool(raw.get("cancel", False)),
        ttl_seconds_after_finished=None if ttl is None else float(ttl),
        output_schema=raw.get("outputSchema"),
    )


def parse_agent_spec(raw: Mapping[str, Any]) -> AgentSpec:
    """Read the API form of an Agent's spec, or the shorter one that `AgentDeclared` carries."""
    role = raw.get("role") or ""
    types = raw.get("taskTypes")
    per_task = (raw.get("budget") or {}).get("perTaskUSD")
    return AgentSpec(
        role=role,
        replicas=int(raw.get("replicas", 1)),
        tasks_per_replica=int(raw.get("tasksPerReplica", 1)),
        task_types=TYPES_BY_ROLE.get(role, ()) if types is None else tuple(types),
        suspend=bool(raw.get("suspend", False)),
        drain_seconds=float(raw.get("drainSeconds", 30)),
        runner=parse_runner(raw),
        budget_per_task_usd=None if per_task is None else float(per_task),
    )


def parse_runner(raw: Mapping[str, Any]) -> str:
    """What runs tasks: `claude` or `command`. A record carries the word, the API form an object with one member."""
    runner = raw.get("runner") or "command"
    if isinstance(runner, str):
        return runner
    return "claude" if runner.get("claude") is not None else "command"


def parse_replica_name(name: str) -> tuple[AgentName, int] | None:
    """Split `<agent>-<n>` into the pool and the ordinal, or return None when it is no such name."""
    agent, dash, ordinal = name.rpartition("-")
    if not (dash and agent and ordinal.isascii() and ordinal.isdecimal()) or str(int(ordinal)) != ordinal:
        return None
    return AgentName(agent), int(ordinal)


def build_agent_record(spec: AgentSpec) -> dict[str, Any]:
    """The short form of an Agent's spec that `AgentDeclared` carries; `parse_agent_spec` reads it back."""
    return {
        "role": spec.role,
        "replicas": spec.replicas,
        "tasksPerReplica": spec.tasks_per_replica,
        "taskTypes": list(spec.task_types),
        "suspend": spec.suspend,
        "drainSeconds": spec.drain_seconds,
        "runner": spec.runner,
        "budget": {} if spec.budget_per_task_usd is None else {"perTaskUSD": spec.budget_per_task_usd},
    }
