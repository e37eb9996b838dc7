"""The administration API keeps what its OpenAPI description says, whatever it is sent: schemathesis calls it all.

Every call is made with values that the description allows, and with values that it does not, on SQLite and on
PostgreSQL. The examples are always the same ones and few enough for a minute.
"""

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance
from starlette.applications import Starlette

from tests.clocks import Clock
from tests.database_fixtures import _urls
from tests.hubs import fill, open_store, take
from vnedoc.exchange.hub.accounts import Accounts, Role
from vnedoc.exchange.hub.admin import PATH, admin_routes, describe
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.core import Hub
from vnedoc.exchange.stores.hub_audit import HubAudit

EXAMPLES = 10
# A further parameter that is an empty list does not show on the wire: nothing is wrong with what arrives. Unknown
# parameters are tested beside the other refusals.
CONFIG = SchemathesisConfig(
    projects=ProjectsConfig(default=ProjectConfig(generation=GenerationConfig(allow_extra_parameters=False)))
)
OPERATIONS = [(path, method) for path, methods in describe()["paths"].items() for method in methods]
# What takes nothing but a token can be sent nothing wrong.
WITHOUT_INPUT = {"/v1/me", "/v1/stats"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def hub(request, tmp_path_factory):
    """A hub with something in it, and the token of an admin."""
    folder = tmp_path_factory.mktemp("hub")
    for make in _urls(request, folder, "hub"):
        store = open_store(make(), folder)
        clock = Clock()
        fill(Administration(store, actor="test", clock=clock))
        for number in range(3):
            take(store, number, "H98", "H99.1")
        accounts = Accounts(store, clock=clock)
        app = Starlette(routes=admin_routes(Hub(store, clock=clock), accounts))
        yield app, accounts.add_token("TEST", Role.ADMIN)[1], store
        store.close()


@pytest.fixture(scope="module")
def schema(hub):
    return schemathesis.openapi.from_asgi(f"{PATH}/openapi.json", hub[0], config=CONFIG)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_call_keeps_its_description(schema, hub, path, method, mode):
    if mode is GenerationMode.NEGATIVE and path in WITHOUT_INPUT:
        return
    operation = schema[path][method]

    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        case.call_and_validate(
            headers={"Authorization": f"Bearer {hub[1]}"},
            # Networks, fingerprints and versions are checked by more than a schema can say. Who is let in is tested
            # by itself: so many wrong tokens end in 429.
            excluded_checks=[positive_data_acceptance, ignored_auth],
        )

    check()


def test_after_all_of_that_the_audit_log_is_whole(hub):
    check = HubAudit(hub[2].database).check()
    assert check.is_whole
    assert check.head.number > 4
