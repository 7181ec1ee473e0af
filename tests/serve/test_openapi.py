"""The service is as it describes itself: schemathesis calls it as the description allows."""

import pytest
from serving import Process

pytest.importorskip("fastapi")
schemathesis = pytest.importorskip("schemathesis")
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [response_schema_conformance, status_code_conformance]


@pytest.fixture(scope="module")
def server(tmp_path_factory, pipeline):
    models = ["--detector", str(pipeline.detector), "--pose", str(pipeline.pose)]
    running = Process([*models, "--threads", "1"], tmp_path_factory.mktemp("jobs"))
    yield running
    running.end()
    assert "Traceback" not in "".join(running.lines)


@pytest.fixture(scope="module")
def description(server):
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


OPERATIONS = [
    ("/v1/poses", "POST"),
    ("/v1/videos", "POST"),
    ("/v1/videos/{id}", "GET"),
    ("/v1/videos/{id}", "DELETE"),
    ("/v1/videos/{id}/result", "GET"),
    ("/v1/models", "GET"),
    ("/healthz", "GET"),
    ("/readyz", "GET"),
    ("/metrics", "GET"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_route_answers_as_it_is_described(description, path, method):
    @given(case=description[path][method].as_strategy())
    @settings(
        max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    def answers(case):
        answer = case.call(timeout=120)
        # No free place is an answer that the description names, not a fault.
        assert answer.status_code < 500 or answer.status_code in {503, 507}
        case.validate_response(answer, checks=CHECKS)

    answers()
