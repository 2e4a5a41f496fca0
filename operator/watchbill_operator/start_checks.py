"""Whether the cluster is as this operator needs it, asked once at its start, before it stands for election.

Owns the questions: the rights of the Role, the fields of the CRDs, the standard that the namespace enforces.
Invariants: what is wrong is waited for, with one sentence that says how to mend it, and never ends the process; a
question that the cluster does not answer proves nothing. When all is well it costs three requests, and nothing later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from watchbill_operator.api import Api, ApiError, NotAllowedError, Request, Resource, UnavailableError
from watchbill_operator.config import Config
from watchbill_operator.crd_paths import find_older
from watchbill_operator.rights import NEEDED, Right, find_lacking, tell_lacking

logger = logging.getLogger(__name__)

RETRY_SECONDS = 2.0  #: between two looks at what is to be mended
MAX_QUESTIONS = len(NEEDED)  #: rights that are asked about one by one
UNKNOWN_USER = 401
ENFORCE_LABEL = "pod-security.kubernetes.io/enforce"
RESTRICTED = "restricted"

AUTHORIZATION = "authorization.k8s.io/v1"
RULES_REVIEWS = Resource(AUTHORIZATION, "selfsubjectrulesreviews", is_namespaced=False)
ACCESS_REVIEWS = Resource(AUTHORIZATION, "selfsubjectaccessreviews", is_namespaced=False)
SCHEMAS = Resource("/openapi/v3/apis", "watchbill.dev/v1alpha1", is_namespaced=False)
NAMESPACES = Resource("v1", "namespaces", is_namespaced=False)

Check = Callable[[Api, Config], Awaitable[str]]  #: the sentence about what is wrong; empty: nothing


async def wait_until_sound(api: Api, config: Config, on_wait: Callable[[str], None]) -> None:
    """Make all checks, one after another; each is repeated until it finds nothing."""
    for check in (check_rights, check_crds, check_namespace):
        while trouble := await _ask(check, api, config):
            on_wait(trouble)
            await asyncio.sleep(RETRY_SECONDS)


async def check_rights(api: Api, config: Config) -> str:
    """What the operator's account may not do and has to.

    The list of rules names what is surely granted; where other authorizers decide too, only their own answer about a
    single right is proof that it lacks.
    """
    spec = {"namespace": api.namespace}
    review = await _create(api, RULES_REVIEWS, "SelfSubjectRulesReview", spec)
    unlisted = find_lacking((review.get("status") or {}).get("resourceRules") or ())
    if not unlisted:
        return ""
    answers = await asyncio.gather(*(_is_refused(api, right) for right in unlisted[:MAX_QUESTIONS]))
    lacking = [right for right, is_refused in zip(unlisted, answers, strict=False) if is_refused]
    return tell_lacking(lacking) if lacking else ""


async def check_crds(api: Api, config: Config) -> str:
    """Whether the CRDs are as new as this operator. Those that are not there are waited for where they are listed."""
    return find_older(await api.send(Request(method="GET", resource=SCHEMAS), attempts=1))


async def check_namespace(api: Api, config: Config) -> str:
    """Whether the namespace holds every pod to the restricted standard, where that is asked for."""
    name = api.namespace
    found = await api.send(Request(method="GET", resource=NAMESPACES, name=name), attempts=1)
    enforced = (found["metadata"].get("labels") or {}).get(ENFORCE_LABEL, "")
    if enforced == RESTRICTED:
        return ""
    trouble = tell_unrestricted(name, enforced)
    if config.require_restricted:
        return trouble
    logger.info("%s", trouble)
    return ""


def tell_unrestricted(namespace: str, enforced: str) -> str:
    """The sentence about a namespace that lets other pods in, with the fix."""
    said = f"enforces the standard {enforced}" if enforced else "enforces no Pod Security standard"
    fix = f"kubectl label --overwrite namespace {namespace} {ENFORCE_LABEL}={RESTRICTED}"
    return f"the namespace {namespace} {said}, and agents' pods belong into a restricted one: {fix}"


async def _ask(check: Check, api: Api, config: Config) -> str:
    """One look; an API that cannot answer is waited for, one that will not has said nothing."""
    try:
        return await check(api, config)
    except NotAllowedError as error:
        return f"the API does not know us: {error}" if error.code == UNKNOWN_USER else ""
    except UnavailableError as error:
        return f"the API does not answer yet: {error}"
    except ApiError as error:
        logger.info("not checked: %s", error)
        return ""


async def _is_refused(api: Api, right: Right) -> bool:
    """Whether the server itself says that this right is not given."""
    resource, _, subresource = right.resource.partition("/")
    asked = {"namespace": api.namespace, "group": right.group, "resource": resource, "verb": right.verb}
    optional = {"subresource": subresource, "name": right.name or (api.namespace if resource == "namespaces" else "")}
    asked |= {key: value for key, value in optional.items() if value}
    answer = await _create(api, ACCESS_REVIEWS, "SelfSubjectAccessReview", {"resourceAttributes": asked})
    return (answer.get("status") or {}).get("allowed") is False


async def _create(api: Api, resource: Resource, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    body = {"apiVersion": AUTHORIZATION, "kind": kind, "spec": spec}
    return await api.send(Request(method="POST", resource=resource, body=body), attempts=1)
