"""Who am I, and may I: the reviews that `kubectl auth` asks for.

There is one user, who holds the token and may do everything, so the answers are the same for all questions. Nothing
is stored.
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.admission import check_type
from watchbill_local.server.resource import Resource
from watchbill_local.server.values import Obj

USER = {"username": "watchbill-local", "groups": ["system:masters", "system:authenticated"]}

_ALL = ["*"]
_ALLOWED = {"allowed": True, "reason": "who holds the token may do everything"}
_RULES = {
    "resourceRules": [{"verbs": _ALL, "apiGroups": _ALL, "resources": _ALL}],
    "nonResourceRules": [{"verbs": _ALL, "nonResourceURLs": _ALL}],
    "incomplete": False,
}


def _review(group: str, plural: str, kind: str) -> Resource:
    return Resource(
        group=group,
        version="v1",
        plural=plural,
        kind=kind,
        namespaced=False,
        verbs=("create",),
        row=lambda obj, now: [],
    )


_ANSWERS: list[tuple[Resource, Obj]] = [
    (_review("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"), _ALLOWED),
    (_review("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview"), _ALLOWED),
    (_review("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview"), _RULES),
    (_review("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"), {"userInfo": USER}),
]

REVIEWS = tuple(resource for resource, _ in _ANSWERS)


def answer_review(group: str, plural: str, body: Any) -> Obj | None:
    """Return the answer to a review, or None when there is no such review. Raises a 400."""
    for resource, status in _ANSWERS:
        if (resource.group, resource.plural) == (group, plural):
            return {**check_type(resource, body if body is not None else {}), "status": status}
    return None
