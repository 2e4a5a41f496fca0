"""What a real broker counts, and when it says that enough is spent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.broker_process import TASK, BrokerProcess, SocketConnection, encode_request
from support.raw_upstream import STALL, Asked, RawUpstream, begins, ends, message, says, stream, whole
from support.waiting import wait_for

ONE_ANSWER = 0.006  #: USD: 1,000 tokens in and 100 out of claude-opus-5-5
SMALL = {"model": "claude-opus-5-5", "max_tokens": 100, "messages": []}


def test_the_ledger_tells_what_an_answer_used() -> None:
    """Each kind of token, and its price."""
    usage = {
        "input_tokens": 1000,
        "output_tokens": 100,
        "cache_read_input_tokens": 5000,
        "cache_creation_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
    }
    with RawUpstream(lambda _: message(usage)) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        broker.ask()

        assert broker.ledger() == {
            "v": 1,
            "task": TASK,
            "attempt": 1,
            "requests": 1,
            "inputTokens": 1000,
            "outputTokens": 100,
            "cacheReadTokens": 5000,
            "cacheWriteTokens": 300,
            "costUSD": pytest.approx(ONE_ANSWER + (5000 * 0.2 + 200 * 5 + 100 * 8) / 1e6),
            "guessed": 0,
            "unknownModels": [],
        }


def test_errors_and_counting_tokens_cost_nothing() -> None:
    """Only answers of the model are paid for."""

    def answer(asked: Asked) -> list[bytes]:
        if asked.target == "/v1/messages/count_tokens":
            return whole(200, {"input_tokens": 5})
        return whole(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})

    with RawUpstream(answer) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        assert broker.ask(path="/v1/messages/count_tokens")[0] == 200
        assert broker.ask()[0] == 529
        assert (broker.usage()["requests"], broker.usage()["costUSD"]) == (0, 0)


def test_a_spent_budget_refuses_so_that_the_cli_does_not_try_again() -> None:
    """The answer that crosses the limit is still given; the next request is not."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.grant(ONE_ANSWER * 1.5)

        statuses = [broker.ask()[0] for _ in range(3)]

        assert (statuses, len(api.asked)) == ([200, 200, 403], 2)
        _, fields, body = broker.ask()
        assert (fields["x-should-retry"], broker.usage()["refused"]) == ("false", "budget")
        assert "budget of this task ($0.01) is spent" in json.loads(body)["error"]["message"]


def test_a_budget_of_nothing_asks_nothing() -> None:
    """An attempt that comes after a dear one may have nothing left."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.grant(0)

        assert (broker.ask()[0], api.asked) == (403, [])


def test_many_requests_at_once_overshoot_by_at_most_one_answer() -> None:
    """Sixteen at once, and money for three and a half."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.grant(ONE_ANSWER * 3.5)

        with ThreadPoolExecutor(16) as pool:
            statuses = sorted(status for status, _, _ in pool.map(lambda _: broker.ask(), range(16)))

        assert statuses == [200] * 4 + [403] * 12
        assert broker.ledger()["costUSD"] == pytest.approx(ONE_ANSWER * 4)


def test_requests_go_side_by_side_while_the_budget_surely_lasts() -> None:
    """A fleet of subagents must not wait for one another without need."""
    both = threading.Barrier(2, timeout=90)

    def answer(_: Asked) -> list[bytes]:
        both.wait()  # broken, and so an error, unless both are here at once
        return message()

    with RawUpstream(answer) as api, BrokerProcess(api.url) as broker:
        broker.grant(1.0)

        with ThreadPoolExecutor(2) as pool:
            assert [status for status, _, _ in pool.map(lambda _: broker.ask(SMALL), range(2))] == [200, 200]


def test_a_request_whose_cost_nothing_bounds_goes_alone() -> None:
    """A tool that runs at the API can add any number of tokens."""
    searching = {**SMALL, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}
    here, most = [0], [0]
    lock = threading.Lock()

    def answer(_: Asked) -> Iterator[bytes]:
        with lock:
            here[0] += 1
            most[0] = max(most[0], here[0])
        head, *rest = stream(begins(), says("x"), ends())
        yield head
        with lock:
            here[0] -= 1
        yield from rest

    with RawUpstream(answer) as api, BrokerProcess(api.url) as broker:
        broker.grant(1.0)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: broker.ask(searching), range(8)))

        assert (len(api.asked), most[0]) == (8, 1)


def test_a_changed_budget_holds_at_once() -> None:
    """The operator replaces the file; the socket stays."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.grant(0)
        assert broker.ask()[0] == 403

        broker.grant(1.0)

        wait_for(lambda: broker.usage()["budgetUSD"] == 1.0, "the new budget", every=0.005)
        assert broker.ask()[0] == 200


def test_a_killed_broker_goes_on_from_its_ledger() -> None:
    """SIGKILL between two answers loses nothing of the first."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.grant(ONE_ANSWER * 1.5)
        broker.ask()

        broker.kill()
        broker.start()

        wait_for(lambda: broker.usage()["requests"] == 1 if _answers(broker) else False, "the former sum")
        assert [broker.ask()[0], broker.ask()[0]] == [200, 403]


@pytest.mark.parametrize("end", [BrokerProcess.kill, BrokerProcess.stop], ids=["killed", "stopped"])
def test_a_broker_that_ends_in_the_middle_of_an_answer_has_counted_what_was_told(
    end: Callable[[BrokerProcess], object],
) -> None:
    """The API charges for it too, also for one that would never have ended."""

    def answer(_: Asked) -> Iterator[bytes]:
        yield from stream(begins(4000))[:2]
        yield STALL

    with RawUpstream(answer) as api, BrokerProcess(api.url) as broker:
        broker.grant()
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(broker.ask)
            broker.wait_for_requests(1)

            end(broker)

            assert asking.exception(90) is not None
        assert (broker.ledger()["inputTokens"], broker.ledger()["guessed"]) == (4000, 1)


def test_whoever_has_the_end_of_an_answer_finds_it_in_the_ledger() -> None:
    """The operator reads the ledger as soon as the agent has finished."""

    def answer(_: Asked) -> Iterator[bytes]:
        yield from stream(begins(), says("hello"), ends(77))[:-1]
        yield STALL

    with RawUpstream(answer) as api, BrokerProcess(api.url) as broker:
        connection = SocketConnection(broker.grant())
        connection.request("POST", "/v1/messages", encode_request(None))
        response = connection.getresponse()
        while b"message_delta" not in response.readline():
            pass

        assert (broker.ledger()["outputTokens"], broker.ledger()["guessed"]) == (77, 0)


def test_a_ledger_that_cannot_be_written_stops_all_spending() -> None:
    """A full or missing volume must not become money without an account."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        (broker.root / "ledger").rmdir()
        broker.grant()

        assert (broker.ask()[0], broker.usage()["refused"], api.asked) == (503, "ledger", [])

        (broker.root / "ledger").mkdir()
        assert broker.ask()[0] == 200


def test_a_ledger_that_makes_no_sense_stops_all_spending() -> None:
    """What was spent before is not known, so that the budget is not either."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        (broker.root / "ledger" / f"{TASK}-1.json").write_text("{")
        broker.grant(1.0)

        assert (broker.ask()[0], api.asked) == (503, [])


def test_an_unknown_model_is_priced_as_the_dearest_and_named() -> None:
    """A budget must hold for a model of tomorrow."""
    with RawUpstream(lambda _: message(model="claude-next-9")) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        broker.ask()

        ledger = broker.ledger()
        assert (ledger["costUSD"], ledger["unknownModels"]) == (pytest.approx(0.0225), ["claude-next-9"])


def test_an_operators_price_comes_before_the_tables() -> None:
    """Discounts, gateways, models of tomorrow."""
    prices = {"WATCHBILL_PRICES": json.dumps({"claude-next-9": {"input": 1, "output": 10}})}
    answer = message(model="claude-next-9")
    with RawUpstream(lambda _: answer) as api, BrokerProcess(api.url, prices) as broker:
        broker.grant()

        broker.ask()

        assert (broker.ledger()["costUSD"], broker.ledger()["unknownModels"]) == (pytest.approx(0.002), [])


def test_an_answer_that_cannot_be_read_is_not_given_away() -> None:
    """Compressed though it was not asked for: its usage cannot be counted, so that it is guessed and refused."""
    with RawUpstream(lambda _: whole(200, b"??", content_encoding="br")) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        assert broker.ask(b"x" * 4000)[0] == 502
        assert broker.wait_for_requests(1)["inputTokens"] == 1000  # written when the request is over


@pytest.mark.parametrize(("kind", "tokens"), [("image", 5_000), ("document", 200_000)])
def test_who_leaves_before_the_answer_begins_pays_for_pictures_and_documents(kind: str, tokens: int) -> None:
    """Their few bytes would make it nearly free."""
    with RawUpstream(lambda _: [STALL]) as api, BrokerProcess(api.url) as broker:
        connection = SocketConnection(broker.grant(10.0))
        source = {"type": "base64", "media_type": "any/thing", "data": "A" * 500}
        body = encode_request(SMALL | {"messages": [{"role": "user", "content": [{"type": kind, "source": source}]}]})
        connection.request("POST", "/v1/messages", body)
        api.wait_for(1)

        connection.close()

        ledger = broker.wait_for_requests(1)
        assert (ledger["inputTokens"], ledger["guessed"]) == ((len(body) - 500) // 4 + tokens, 1)


BY_ADDRESS = {"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}}
FETCHED = SMALL | {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [BY_ADDRESS]}]}]}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (FETCHED, "base64"),
        (b'{"max_tokens": 1, "messages": [], "messages": [1]}', "read in one way"),
    ],
)
def test_with_a_budget_a_prompt_whose_size_cannot_be_seen_is_refused(body: object, why: str) -> None:
    """By address or file it would be any number of tokens, for nothing to who leaves before the answer begins."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.grant(1.0)

        status, _, said = broker.ask(body)

        error = json.loads(said)["error"]
        assert (status, error["type"], api.asked) == (400, "invalid_request_error", [])
        assert why in error["message"]
        assert broker.usage()["lastStatus"] == 400


def test_without_a_budget_a_prompt_may_lie_elsewhere() -> None:
    """There is nothing to overshoot."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        assert broker.ask(FETCHED)[0] == 200


def _answers(broker: BrokerProcess) -> bool:
    try:
        broker.usage()
    except OSError:
        return False
    return True
