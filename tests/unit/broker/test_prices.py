"""What an answer costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_broker.metering import Told
from watchbill_broker.prices import BadPrices, PriceTable, load_prices

TABLE = load_prices({})
COUNTS = st.integers(min_value=0, max_value=10**6)


def cost(model: str, **told: int | str) -> float:
    """USD of an answer of a model."""
    return TABLE.price(Told(model=model, **told), model="").usd  # type: ignore[arg-type]  # counts and names by keyword


@pytest.mark.parametrize(
    ("model", "measured"),
    [
        ("claude-haiku-5-5", (0.1, 0.5, 0.125, 0.2, 0.01)),
        ("claude-sonnet-5-5", (2, 10, 2.5, 4, 0.1)),
        ("claude-opus-5-5", (4, 20, 5, 8, 0.2)),
        ("claude-fable-5-2", (8, 40, 10, 16, 0.2)),
        ("claude-opus-4-8", (5, 25, 6.25, 10, 0.5)),
    ],
)
def test_prices_are_those_that_claude_code_was_measured_to_use(model: str, measured: tuple[float, ...]) -> None:
    """USD per million: input, output, cache writes of 5 minutes and an hour, cache reads."""
    price, is_known = TABLE.find(model)

    assert (price.input, price.output, price.cache_write_5m, price.cache_write_1h, price.cache_read) == measured
    assert is_known


@pytest.mark.parametrize(
    "name",
    [
        "claude-sonnet-4-5",
        "claude-sonnet-4-5-20250929",
        "claude-sonnet-4-5@20250929",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "Claude-Sonnet-4-5-latest",
        "claude-sonnet-4-5[1m]",
    ],
)
def test_a_model_is_found_under_every_name_that_providers_give_it(name: str) -> None:
    """Dates, versions and regions do not change the price."""
    assert TABLE.find(name) == (TABLE.find("claude-sonnet-4-5")[0], True)


@pytest.mark.parametrize("name", ["claude-sonnet-4-9", "claude-opus-6", "claude-haiku-5", "gpt-9", ""])
def test_an_unknown_model_costs_what_the_dearest_known_one_costs(name: str) -> None:
    """A name that only begins like a known one is not it."""
    price, is_known = TABLE.find(name)

    assert (price.output, is_known) == (75, False)


def test_a_long_prompt_of_haiku_costs_more() -> None:
    """Above 100,000 tokens of prompt, cached ones included."""
    assert cost("claude-haiku-5-5", input_tokens=100_000) == pytest.approx(0.01)
    assert cost("claude-haiku-5-5", input_tokens=1, cache_read_tokens=100_000) == pytest.approx(0.0050005)


def test_fast_answers_us_inference_and_searches_cost_extra() -> None:
    """All three can be asked for by an agent."""
    plain = cost("claude-opus-5-5", output_tokens=1000)

    assert cost("claude-opus-5-5", output_tokens=1000, speed="fast") == pytest.approx(2 * plain)
    assert cost("claude-opus-5-5", output_tokens=1000, geo="us") == pytest.approx(1.1 * plain)
    assert cost("claude-opus-5-5", web_searches=3) == pytest.approx(0.03)


@given(
    size=COUNTS,
    written=COUNTS,
    parts=st.tuples(COUNTS, COUNTS, COUNTS),
    model=st.sampled_from(["claude-haiku-5-5", "claude-opus-4-6", "new"]),
)
def test_no_answer_costs_more_than_its_bound(size: int, written: int, parts: tuple[int, int, int], model: str) -> None:
    """The budget's promise stands on this: a prompt has at most as many tokens as the request has bytes."""
    read, short, long = (part * size // (1 + sum(parts)) for part in parts)
    told = Told(model=model, input_tokens=size - read - short - long, output_tokens=written, speed="fast", geo="us")
    told.cache_read_tokens, told.cache_write_5m_tokens, told.cache_write_1h_tokens = read, short, long

    assert TABLE.price(told, model=model).usd <= TABLE.bound(model=model, request_bytes=size, max_tokens=written) + 1e-9


def test_an_operators_row_replaces_the_tables() -> None:
    """Cache prices that it does not name follow from its input price."""
    table = load_prices({"claude-opus-5-5": {"input": 1, "output": 2}})

    price, _ = table.find("claude-opus-5-5")

    assert (price.input, price.cache_write_5m, price.cache_write_1h) == (1, 1.25, 2)
    assert price.cache_read == pytest.approx(0.1)


def test_a_row_may_name_a_model_as_its_gateway_does() -> None:
    """The whole name comes first."""
    table = load_prices({"Gateway/claude-opus-5-5": {"input": 1, "output": 2}})

    assert table.find("gateway/claude-opus-5-5")[0].output == 2
    assert table.find("claude-opus-5-5")[0].output == 20


@pytest.mark.parametrize(
    "row", [7, {"input": 1}, {"input": "1", "output": 2}, {"input": -1, "output": 2}, {"input": True, "output": 2}]
)
def test_a_row_that_is_no_price_is_refused_by_name(row: object) -> None:
    """The operator reads this in the broker's log."""
    with pytest.raises(BadPrices, match="claude-x"):
        load_prices({"claude-x": row})


def test_the_table_says_where_it_is_from() -> None:
    """Prices change; a table without a date is worth nothing."""
    assert isinstance(TABLE, PriceTable)
    assert TABLE.source
    assert TABLE.date >= "2026-11-22"
