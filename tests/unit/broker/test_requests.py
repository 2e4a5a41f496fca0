"""Which requests may pass, and what of them crosses the broker."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_broker.credentials import Credential
from watchbill_broker.headers import build_answer_fields, build_request_fields, is_ambiguous
from watchbill_broker.prompts import reaches_out
from watchbill_broker.routes import find_own_endpoint, find_route
from watchbill_broker.settings import Provider

KEY = Credential("ANTHROPIC_API_KEY", b"x-api-key", b"the-real-key", _secret=b"the-real-key")
TOKEN = Credential("CLAUDE_CODE_OAUTH_TOKEN", b"authorization", b"Bearer t", b"oauth-2025-04-20")
PROFILE = b"arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.anthropic.claude-sonnet-4-5-20250929-v1%3A0"
VERTEX = b"/v1/projects/my-project/locations/us-east5/publishers/anthropic/models/"


@pytest.mark.parametrize(
    ("provider", "method", "target", "is_paid"),
    [
        ("anthropic", b"POST", b"/v1/messages?beta=true", True),
        ("anthropic", b"POST", b"/v1/messages/count_tokens?beta=true", False),
        ("anthropic", b"GET", b"/v1/models/claude-opus-5-5", False),
        ("bedrock", b"POST", b"/model/" + PROFILE + b"/invoke-with-response-stream", True),
        ("bedrock", b"POST", b"/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke", True),
        ("bedrock", b"POST", b"/model/claude-x/count-tokens", False),
        ("vertex", b"POST", VERTEX + b"claude-sonnet-4-5@20250929:streamRawPredict", True),
        ("vertex", b"POST", VERTEX + b"claude-sonnet-4-5:rawPredict", True),
        ("vertex", b"POST", VERTEX + b"count-tokens:rawPredict", False),
    ],
)
def test_what_claude_code_needs_passes(provider: Provider, method: bytes, target: bytes, is_paid: bool) -> None:
    """Byte for byte, and known as paid or free."""
    route = find_route(provider, method, target)

    assert route is not None
    assert (route.target, route.is_paid) == (target, is_paid)


@pytest.mark.parametrize(
    ("provider", "method", "target"),
    [
        ("anthropic", b"GET", b"/v1/messages"),
        ("anthropic", b"POST", b"/v1/messages/"),
        ("anthropic", b"POST", b"//v1/messages"),
        ("anthropic", b"POST", b"/v1/messages#x"),
        ("anthropic", b"POST", b"/v1/messages?x=%0d%0a"),
        ("anthropic", b"GET", b"/v1/models/../files"),
        ("anthropic", b"GET", b"/v1/models/" + b"m" * 5000),
        ("anthropic", b"POST", b"/model/claude-x/invoke"),
        ("bedrock", b"POST", b"/model/..%2Fguardrail/invoke"),
        ("bedrock", b"POST", b"/model/a%2F..%2Fb/invoke"),
        ("bedrock", b"POST", b"/model/claude%00x/invoke"),
        ("bedrock", b"POST", b"/v1/messages"),
        ("vertex", b"POST", b"/v1/projects/p/locations/../publishers/anthropic/models/claude-x:rawPredict"),
        ("vertex", b"POST", b"/v1/projects/my-project/locations/us/publishers/google/models/gemini:rawPredict"),
    ],
)
def test_what_it_does_not_need_has_no_route(provider: Provider, method: bytes, target: bytes) -> None:
    """Neither other paths nor other spellings of these."""
    assert find_route(provider, method, target) is None


def test_a_model_in_the_path_is_known_by_its_plain_name() -> None:
    """It finds its price even where the answer names none."""
    route = find_route("bedrock", b"POST", b"/model/" + PROFILE + b"/invoke")

    assert route is not None
    assert route.model.endswith("/us.anthropic.claude-sonnet-4-5-20250929-v1:0")


@pytest.mark.parametrize(
    ("provider", "region", "host"),
    [
        ("anthropic", "", "api.anthropic.com"),
        ("bedrock", "eu-west-1", "bedrock-runtime.eu-west-1.amazonaws.com"),
        ("vertex", "us-east5", "us-east5-aiplatform.googleapis.com"),
        ("vertex", "global", "aiplatform.googleapis.com"),
        ("bedrock", "", None),
        ("bedrock", "evil.example/", None),
    ],
)
def test_each_provider_lives_at_its_own_host(provider: Provider, region: str, host: str | None) -> None:
    """A region is a word, never a part of another address."""
    endpoint = find_own_endpoint(provider, region)

    assert (endpoint.host if endpoint else None) == host


NAMES = st.sampled_from(
    [b"x-api-key", b"authorization", b"proxy-authorization", b"cookie", b"x-goog-api-key", b"x-amz-security-token"]
)


@given(names=st.lists(NAMES, max_size=5))
def test_exactly_one_credential_goes_out(names: list[bytes]) -> None:
    """Whatever the agent sends."""
    fields = build_request_fields([(name, b"the agent's") for name in names], "host", KEY)

    assert [value for name, value in fields if value == b"the agent's"] == []
    assert [value for name, value in fields if name in (b"x-api-key", b"authorization")] == [b"the-real-key"]


def test_a_token_asks_for_its_beta_beside_those_of_the_agent() -> None:
    """In one field, once."""
    fields = build_request_fields([(b"anthropic-beta", b"a"), (b"anthropic-beta", b"b")], "host", TOKEN)
    again = build_request_fields([(b"anthropic-beta", b"a,oauth-2025-04-20")], "host", TOKEN)

    assert dict(fields)[b"anthropic-beta"] == b"a,b,oauth-2025-04-20"
    assert dict(again)[b"anthropic-beta"] == b"a,oauth-2025-04-20"


def test_the_hops_own_fields_do_not_come_back() -> None:
    """Nor those that `Connection` names, cookies, and whatever repeats the key."""
    received = [
        (b"connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"set-cookie", b"a=b"),
        (b"x-debug", b"key=the-real-key"),
        (b"request-id", b"r"),
    ]

    assert build_answer_fields(received, KEY) == [(b"request-id", b"r")]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([(b"content-length", b"4")], False),
        ([(b"content-length", b"4"), (b"content-length", b"5")], True),
        ([(b"content-length", b"4"), (b"transfer-encoding", b"chunked")], True),
        ([(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"identity")], True),
    ],
)
def test_two_ends_of_a_body_are_noticed(fields: list[tuple[bytes, bytes]], expected: bool) -> None:
    """The beginning of request smuggling."""
    assert is_ambiguous(fields) is expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, False),
        ({"tools": [{"name": "Bash", "input_schema": {}}]}, False),
        ({"tools": [{"type": "web_search_20250305"}]}, True),
        ({"mcp_servers": [{"url": "https://x"}]}, True),
        ({"messages": [{"content": [{"type": "document", "source": {"type": "text", "data": ""}}]}]}, False),
        ({"messages": [{"content": [{"type": "image", "source": {"type": "base64", "data": ""}}]}]}, True),
        ({"messages": [{"content": [{"type": "image", "source": {"type": "url", "url": "u"}}]}]}, True),
        ({"messages": [{"content": [{"type": "tool_result", "content": [{"source": {"type": "file"}}]}]}]}, True),
    ],
)
def test_a_request_that_costs_more_than_it_holds_is_known(more: dict[str, Any], expected: bool) -> None:
    """Files, addresses and tools that run at the API have no bound; nor have pictures, whose bytes are compressed."""
    assert reaches_out(json.loads(json.dumps({"model": "m", "messages": [], **more}))) is expected
