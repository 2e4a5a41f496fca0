"""Under which users the containers of agent pods run.

Owns the numbers. Pure. Invariants: every uid is below 65,536, the range of a user namespace, and none is root; the
replicas of an Agent never share one; no agent has a uid of the brokers' range, so what belongs to a broker is out of
every agent's reach wherever both see the same files.
"""

from __future__ import annotations

import hashlib

from watchbill_coordination.core.specs import MAX_REPLICAS

FIRST_UID = 10_000
REPLICA_UIDS = MAX_REPLICAS  #: uids set aside for one Agent
UID_BLOCKS = 860
FIRST_BROKER_UID = FIRST_UID + UID_BLOCKS * REPLICA_UIDS  #: the first above those of agents
BROKER_UIDS = 480  #: keeps below 65,534, which is `nobody`


def build_user_id(namespace: str, agent: str, ordinal: int) -> int:
    """The replica's own uid: replicas of an Agent never share one, those of two Agents hardly ever."""
    return FIRST_UID + _hash(namespace, agent) % UID_BLOCKS * REPLICA_UIDS + ordinal % REPLICA_UIDS


def build_broker_user_id(namespace: str, agent: str, ordinal: int) -> int:
    """The uid of the replica's broker: those of one Agent never share one, and no agent has it."""
    return FIRST_BROKER_UID + (_hash(namespace, agent) + ordinal % REPLICA_UIDS) % BROKER_UIDS


def _hash(namespace: str, agent: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{namespace}/{agent}".encode()).digest()[:8])
