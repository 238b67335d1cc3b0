"""Whatever the admin interface is asked, it answers as its own description says (OpenAPI)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS

from supervisor.admin import openapi
from supervisor.admin.route import Route
from supervisor.admin.routes import ROUTES
from tests.support.running import DEADLINE, Running

KEPT = ("good", "asking", "listening")
VICTIM = "environment"  # what verbs are tried on
TRUSTED = "Bearer s3cret"

DOCUMENT = openapi.document(ROUTES)
DESCRIPTION = schemathesis.openapi.from_dict(DOCUMENT)


@cache
def cases(route: Route) -> st.SearchStrategy[Case]:
    """Requests that fit the description of a route, and such that do not; of friend and foe."""
    return st.one_of(
        DESCRIPTION[route.path][route.method].as_strategy(mode, headers={"Authorization": shown})
        for mode in GenerationMode
        for shown in (TRUSTED, "Bearer guessed")
    )


@dataclass
class Admin:
    """What a supervisor with modules answers over TCP, and how to ask it."""

    running: Running
    url: str
    session: requests.Session = field(default_factory=requests.Session)

    def check(self, case: Case, body: bytes = b"") -> bool:
        """Compare an answer with the description; True for a stream, left after its head."""
        request = case.as_transport_kwargs(self.url)
        with self.session.request(**request, data=body, stream=True, timeout=DEADLINE) as answer:
            if "Transfer-Encoding" in answer.headers:
                described = DOCUMENT["paths"][case.path]["get"]["responses"]["200"]["content"]
                assert answer.headers["Content-Type"].partition(";")[0] in described
                return True
            not_ready = (answer.status_code, case.path) == (503, "/readyz")  # is no error
            case.validate_response(
                answer,
                headers=dict(case.headers),
                excluded_checks=CHECKS.get_by_names(["not_a_server_error"]) if not_ready else [],
            )
            return False

    def pids(self) -> dict[str, int]:
        """Of the modules that nothing was to happen to."""
        modules = {each["name"]: each for each in self.running.status()["modules"]}
        assert {modules[name]["state"] for name in KEPT} == {"ready"}
        return {name: modules[name]["pid"] for name in KEPT}


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    """Run one; in the end nothing must have come of what it was asked."""
    (tmp_path / "token").write_text(TRUSTED.removeprefix("Bearer "))
    sets = ('admin.address="127.0.0.1:0"', f'admin.token_file="{tmp_path / "token"}"')
    with Running(tmp_path, *KEPT, VICTIM, sets=sets) as running:
        url = running.wait_for(r"admin interface on (http://127.0.0.1:\d+)").group(1)
        running.ready(*KEPT, VICTIM)
        asked = Admin(running, url)
        pids = asked.pids()
        yield asked
        assert asked.pids() == pids
        assert "a bug in" not in running.cli("logs", "supervisor").stdout


@settings(
    max_examples=max(300, settings.default.max_examples),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    case=st.sampled_from(ROUTES).flatmap(cases),
    module=st.sampled_from((None, VICTIM)),
    body=st.binary(max_size=1000),
)
def test_every_answer_is_as_described_and_no_module_is_disturbed(
    admin: Admin, case: Case, module: str | None, body: bytes
) -> None:
    if module and "module" in case.path_parameters:
        case.path_parameters["module"] = module
    assume(case.path_parameters.get("module") not in KEPT)
    assume((case.path, case.headers.get("Authorization")) != ("/stop", TRUSTED))
    admin.check(case, body)


@pytest.mark.parametrize("path", [route.path for route in ROUTES if route.stream])
def test_a_stream_ends_with_whoever_reads_it(admin: Admin, path: str) -> None:
    asked = {"headers": {"Authorization": TRUSTED}, "query": {"follow": "true"}}
    for _ in range(50):  # more than may be open at a time
        assert admin.check(DESCRIPTION[path]["GET"].Case(**asked))
