"""Questions that a client asks about itself: who am I, what may I do, give me a token for this account.

Owns the kinds that are answered and never stored (SelfSubjectReview and the like), and the token subresource of
service accounts. There is no RBAC here, so every question about a permission is answered by yes, with that reason.
"""

from __future__ import annotations

import time

import orjson
from aiohttp import web

from watchbill_local.server.admission import check_type
from watchbill_local.server.cluster import Cluster
from watchbill_local.server.errors import Named, bad_request, invalid, invalid_value, method_not_allowed
from watchbill_local.server.exchange import Call, answer, read_body
from watchbill_local.server.times import format_time
from watchbill_local.server.tokens import AUDIENCE, User
from watchbill_local.server.typed_fields import decode_fields
from watchbill_local.server.values import Obj, dig

#: Seconds for which a token is good unless asked otherwise, and the bounds of what may be asked.
TOKEN_SECONDS, SHORTEST, LONGEST = 3600, 600, 1 << 32

_WHY = "this server asks for a token and enforces no RBAC"
_ALL = {"verbs": ["*"]}
_TOKEN_REQUEST = Named(group="authentication.k8s.io", version="v1", plural="tokenrequests", kind="TokenRequest")


async def serve_review(call: Call) -> web.Response:
    """Answer a question about the one who asks. Raises a 400, 405 or 422."""
    resource = call.write.resource
    if call.request.method != "POST":
        raise method_not_allowed(resource)
    review = check_type(resource, await read_body(call))
    decode_fields(resource, review)
    return answer(orjson.dumps({**review, **_decide_review(call, review)}), 201)


def _decide_review(call: Call, review: Obj) -> Obj:
    """Return the parts of a review that hold its answer. Raises a 422 for a question that is none."""
    resource = call.write.resource
    if resource.kind == "SelfSubjectReview":
        return {"metadata": {"creationTimestamp": format_time(time.time())}, "status": {"userInfo": _show(call.user)}}
    if resource.kind == "SelfSubjectRulesReview":
        rules = [{**_ALL, "apiGroups": ["*"], "resources": ["*"]}]
        status = {"resourceRules": rules, "nonResourceRules": [{**_ALL, "nonResourceURLs": ["*"]}], "incomplete": False}
        return {"status": status}
    asked = [key for key in ("resourceAttributes", "nonResourceAttributes") if key in (review.get("spec") or {})]
    if len(asked) != 1:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise invalid(resource, "", [invalid_value("spec.resourceAttributes", None, why)])
    return {"status": {"allowed": True, "reason": _WHY}}


def _show(user: User) -> Obj:
    return {"username": user.name, "uid": user.uid, "groups": list(user.groups)}


async def serve_token(cluster: Cluster, call: Call) -> web.StreamResponse:
    """Issue a token of a service account. Raises a 400, 404 or 422."""
    request = await read_body(call)
    if not isinstance(request, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {_TOKEN_REQUEST.kind})")
    decode_fields(_TOKEN_REQUEST, request)
    account = cluster.objects.get(call.write).obj["metadata"]
    seconds, now = dig(request, "spec", "expirationSeconds", default=TOKEN_SECONDS), time.time()
    if not SHORTEST <= seconds <= LONGEST:
        bound = "less than 10 minutes" if seconds < SHORTEST else "larger than 2^32 seconds"
        cause = invalid_value("spec.expirationSeconds", seconds, f"may not specify a duration {bound}")
        raise invalid(_TOKEN_REQUEST, "", [cause])
    spec = {"audiences": dig(request, "spec", "audiences", default=[AUDIENCE]), "expirationSeconds": seconds}
    token = call.tokens.issue(account, spec["audiences"], now, seconds)
    kept = {key: account[key] for key in ("name", "namespace", "uid")}
    answered = {
        "kind": _TOKEN_REQUEST.kind,
        "apiVersion": _TOKEN_REQUEST.api_version,
        "metadata": {**kept, "creationTimestamp": format_time(now)},
        "spec": {**spec, "boundObjectRef": None},
        "status": {"token": token, "expirationTimestamp": format_time(now + seconds)},
    }
    return answer(orjson.dumps(answered), 201)
