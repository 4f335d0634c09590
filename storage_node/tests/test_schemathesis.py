"""A running node keeps to docs/openapi/storage-node.yaml whatever it is sent: no 5xx, answers fit their schema."""

import schemathesis
import yaml
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from storage_node.tests.node_process import REPOSITORY, NodeProcess

EXAMPLES = 15
DOCUMENT = yaml.safe_load((REPOSITORY / "docs/openapi/storage-node.yaml").read_text())
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
schema = schemathesis.openapi.from_dict(DOCUMENT)


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)
def test_any_request_gets_an_answer_of_the_document(
    case: schemathesis.Case, node: NodeProcess
) -> None:
    headers = {"Authorization": f"Bearer {node.token()}"}
    answer = case.call(
        base_url=node.base_url, headers=headers, verify=str(node.certificates.ca), timeout=30
    )
    case.validate_response(answer, checks=CHECKS)
