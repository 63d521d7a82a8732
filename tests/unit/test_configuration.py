from typing import Any

import pytest

from tandem.configuration import Configuration, engines
from tandem.engines.restate import serving
from tandem.exceptions import ConfigurationError


def read(environment: dict[str, str] | None = None, **options: Any) -> Configuration:
    return Configuration.read("default", {"OPTIONS": options}, environment or {})


def test_defaults() -> None:
    configuration = read()
    assert configuration.engines == ("celery",)
    assert configuration.queues == ("default",)
    assert configuration.lease_seconds == 15.0
    assert configuration.restate is None


def test_each_server_that_may_be_named_is_there() -> None:
    assert tuple(serving.SERVERS) == engines.SERVERS


def test_values_are_read() -> None:
    configuration = read(
        {"TANDEM_ROUTES": "default=restate"},
        ENGINES={"restate": {"INGRESS_URL": "http://restate:8080"}},
        LEASE_SECONDS=5,
    )
    assert configuration.restate is not None
    assert configuration.restate.ingress_url == "http://restate:8080"
    assert configuration.environment_routes == "default=restate"
    assert configuration.lease_seconds == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"LEASE_SECOND": 5}, r"unknown key 'LEASE_SECOND'; did you mean 'LEASE_SECONDS'\?"),
        ({"ENGINES": {"celary": {}}}, r"engine 'celary', which does not exist; did you mean 'celery'\?"),
        ({"ENGINES": {}}, r"must name at least one of celery, restate"),
        ({"ENGINES": {"celery": {"BROKER": "x"}}}, r"\['celery'\] has an unknown key 'BROKER'"),
        (
            {"ENGINES": {"restate": {"INGRESS_URL": "localhost:8080"}}},
            r"\['INGRESS_URL'\] is 'localhost:8080', but must",
        ),
        (
            {"ENGINES": {"restate": {"SERVER": "uvicorn"}}},
            r"\['SERVER'\] is 'uvicorn', but must be one of granian, hyp",
        ),
        ({"ENGINES": {"restate": {"INGRESS_URL": ""}}}, r"\['restate'\]\['INGRESS_URL'\] is '', but must be a URL"),
        ({"ENGINES": {"restate": {"ADMIN_URL": "http://a:bc"}}}, r"\['restate'\]\['ADMIN_URL'\] is 'http://a:bc'"),
        ({"ENGINES": {"restate": {"SERVICE_URL": "redis://a"}}}, r"\['restate'\]\['SERVICE_URL'\] is 'redis://a'"),
        ({"ENGINES": {"celery": None}}, r"TASKS\['default'\]\['OPTIONS'\]\['ENGINES'\]\['celery'\] is None, but must"),
        ({"FROBNICATE": 5}, r"unknown key 'FROBNICATE'\. Known keys: ENGINES"),
        ({"ENGINES": {"celery": {"FROBNICATE": 5}}}, r"unknown key 'FROBNICATE'\. Known keys: BROKER_URL"),
        ({"ENGINES": {"frobnicate": {}}}, r"which does not exist\. Engines: celery"),
        ({"ENGINES": {"celery": {"CONNECT_TIMEOUT": "1"}}}, r"'CONNECT_TIMEOUT'\] is '1', but must be a float"),
        ({"LEASE_SECONDS": True}, r"'LEASE_SECONDS'\] is True, but must be a float"),
        ({"LEASE_SECONDS": 0}, r"'LEASE_SECONDS'\] is 0, but must be above 0"),
        ({"LEASE_SECONDS": float("nan")}, r"'LEASE_SECONDS'\] is nan, but must be above 0"),
        ({"RETENTION_DAYS": -1}, r"'RETENTION_DAYS'\] is -1, but must be from 0"),
        ({"ENGINES": {"restate": {"PREFIX": "shop."}}}, r"\['PREFIX'\] is 'shop\.', but must be a letter, then"),
        (
            {"ENGINES": {"restate": {"IDENTITY_KEYS": "publickeyv1_x"}}},
            r"'IDENTITY_KEYS'\] is a text, but must be a list",
        ),
        ({"ENGINES": {"restate": {"IDENTITY_KEYS": 5}}}, r"'IDENTITY_KEYS'\] is 5, but must be a list of keys"),
        ({"ENGINES": {"restate": {"CONCURRENCY": 0}}}, r"\['restate'\]\['CONCURRENCY'\] is 0, but must be above 0"),
        ({"ENGINES": {"restate": {"STUCK_THREADS": -1}}}, r"'STUCK_THREADS'\] is -1, but must be from 0"),
        ({"ENGINES": {"restate": {"LONGEST_STEP": 0}}}, r"'LONGEST_STEP'\] is 0, but must be above 0"),
        ({"ENGINES": {"celery": {"GRACE_SECONDS": -1}}}, r"'GRACE_SECONDS'\] is -1, but must be from 0"),
        (
            {"ENGINES": {"celery": {"CONNECT_TIMEOUT": float("nan")}}},
            r"'CONNECT_TIMEOUT'\] is nan, but must be above 0",
        ),
        ({"ENGINES": {"stub": {"FOO": 1}}}, r"\['ENGINES'\]\['stub'\] is \{'FOO': 1\}, but has no options"),
        ({"ENGINES": {"immediate": None}}, r"\['ENGINES'\]\['immediate'\] is None, but has no options"),
        ({"MAX_LOST_LEASES": 1.5}, r"'MAX_LOST_LEASES'\] is 1.5, but must be a int"),
    ],
)
def test_a_mistake_is_named_with_the_way_out(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read(**options)


@pytest.mark.parametrize("queues", ["default", 5, None])
def test_queues_that_are_no_list_are_named(queues: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"TASKS\['default'\]\['QUEUES'\] is .*, but must be a list"):
        Configuration.read("default", {"QUEUES": queues})
