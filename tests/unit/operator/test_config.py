"""Settings of the operator, and the sentences for wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from watchbill_broker.prices import load_prices
from watchbill_operator.config import ConfigError, load_config, parse_config
from watchbill_operator.model_tables import KINDS_OF_PRICES
from watchbill_operator.pod_settings import COORDINATION_CLAIM, build_pod_settings

ROOT = {"WATCHBILL_ROOT": "/srv/watchbill"}


def test_the_root_alone_is_enough() -> None:
    """Everything else has a default."""
    config = parse_config(ROOT)

    assert (config.root, config.namespace, config.kubeconfig) == (Path("/srv/watchbill"), "default", None)


def test_without_a_root_the_sentence_names_the_variable() -> None:
    """It is the only one that cannot be guessed."""
    with pytest.raises(ConfigError, match="WATCHBILL_ROOT"):
        parse_config({})


def test_the_environment_goes_before_the_file() -> None:
    """A file is for many, a variable for one."""
    config = parse_config(ROOT | {"WATCHBILL_NAMESPACE": "mine"}, "namespace: theirs\nlease_seconds: 5\n", "f.yaml")

    assert (config.namespace, config.lease_seconds) == ("mine", 5.0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("namspace: x\n", "f.yaml:1:1: namspace is not a setting"),
        ("namespace: x\nlease_seconds: soon\n", "f.yaml:2:1: lease_seconds"),
        ("lease_seconds: -1\n", "f.yaml:1:1: lease_seconds"),
        ("namespace: [1\n", "f.yaml:2:1"),
        ("- a\n", "f.yaml:1:1: a mapping is wanted"),
        ("http_port: 70000\n", "70000 is not a port"),
        ("log_level: LOUD\n", "is not one of DEBUG"),
        ("models: opus\n", "f.yaml:1:1: models: a mapping is wanted"),
        ("models:\n  opus: x\n  house: [y]\n", "f.yaml:3:3: models.house: ['y'] is not a model's id"),
        ("models: {opus: x, house: ''}\n", "f.yaml:1:19: models.house: '' is not a model's id"),
        ("prices:\n  m: 3\n", "f.yaml:2:3: prices.m: a mapping of prices is wanted"),
        ("prices:\n  m: {input: 3}\n", "f.yaml:2:3: prices.m: output is missing"),
        ("prices:\n  m: {input: 3, output: dear}\n", "f.yaml:2:3: prices.m: output 'dear' is not a number"),
        ("prices:\n  m: {input: -1, output: 2}\n", "prices.m: input -1 is not from 0 to"),
        ("prices:\n  m: {input: .nan, output: 2}\n", "prices.m: input nan is not a number"),
        ("prices:\n  m: {input: 3, output: 4, inptu: 5}\n", "prices.m: 'inptu' is not a price; there are input, "),
    ],
)
def test_a_wrong_file_is_told_with_line_and_column(text: str, sentence: str) -> None:
    """What is wrong, and where."""
    with pytest.raises(ConfigError) as caught:
        parse_config(ROOT, text, "f.yaml")

    assert sentence in str(caught.value)


@pytest.mark.parametrize("address", ["8080", "host:", "host:99999", "host:http"])
def test_a_wrong_address_is_refused(address: str) -> None:
    """HOST:PORT is wanted."""
    with pytest.raises(ConfigError, match="WATCHBILL_HTTP"):
        parse_config(ROOT | {"WATCHBILL_HTTP": address})


def test_an_ipv6_address_is_taken_out_of_its_brackets() -> None:
    """As sockets want it."""
    config = parse_config(ROOT | {"WATCHBILL_HTTP": "[::1]:8080"})

    assert (config.http_host, config.http_port) == ("::1", 8080)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """One sentence with its name."""
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        load_config(ROOT, tmp_path / "missing.yaml")


def test_models_and_prices_are_tables() -> None:
    """Aliases of one's own, and prices of models that no table knows, in USD per million tokens."""
    text = "models: {house: gateway/claude}\nprices:\n  gateway/claude: {input: 3, output: 15.5, cacheRead: 0.3}\n"

    config = parse_config(ROOT, text, "f.yaml")

    assert config.models == {"house": "gateway/claude"}
    assert config.prices == {"gateway/claude": {"input": 3.0, "output": 15.5, "cacheRead": 0.3}}


def test_the_broker_takes_every_price_that_the_operator_takes() -> None:
    """One form on both sides."""
    row = dict.fromkeys(KINDS_OF_PRICES, 2.5)
    settings = build_pod_settings(parse_config(ROOT, f"prices: {{house: {row}}}", "f.yaml"))

    price, is_known = load_prices(json.loads(settings.prices)).find("house")

    assert is_known
    assert {price.input, price.output, price.cache_write_5m, price.cache_write_1h, price.cache_read} == {2.5}


def test_too_many_rows_are_refused() -> None:
    """The table stands in the environment of every broker."""
    rows = {f"m{number}": "x" for number in range(257)}

    with pytest.raises(ConfigError, match="257 rows are more than 256"):
        parse_config(ROOT, f"models: {json.dumps(rows)}", "f.yaml")


def test_images_and_claim_are_the_configurations() -> None:
    """Which a pod is made with is decided where the operator is installed."""
    variables = {"WATCHBILL_AGENT_IMAGE": "a:1", "WATCHBILL_BROKER_IMAGE": "b:1", "WATCHBILL_CLAIM": "shared.volume"}
    settings = build_pod_settings(parse_config(ROOT | variables))

    assert (settings.image, settings.broker_image, settings.claim) == ("a:1", "b:1", "shared.volume")


def test_the_claims_default_is_the_one_that_is_installed() -> None:
    """And the broker runs in the agent's image."""
    settings = build_pod_settings(parse_config(ROOT))

    assert (settings.broker_image, settings.claim) == ("", COORDINATION_CLAIM)


@pytest.mark.parametrize("name", ["Shared", "-shared", "shared_volume", "a" * 254])
def test_a_claim_that_no_cluster_can_have_is_refused(name: str) -> None:
    """Else every pod would wait for it."""
    with pytest.raises(ConfigError, match=r"WATCHBILL_CLAIM: .* is not the name of a claim"):
        parse_config(ROOT | {"WATCHBILL_CLAIM": name})
