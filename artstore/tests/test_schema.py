"""Guard: the committed OpenAPI documents are what the code generates."""

import pytest
import yaml
from django.core.management import CommandError, call_command

from artstore.management.commands import write_schema
from artstore.tests.source_tree import ROOT


@pytest.mark.parametrize("module", write_schema.API_MODULES)
def test_the_committed_document_is_what_the_code_generates(module: str) -> None:
    committed = (ROOT / "docs/openapi" / f"{module}.yaml").read_text(encoding="utf-8")
    assert committed == write_schema.render(module), "run: manage.py write_schema"


def test_a_changed_document_is_noticed(settings: object, tmp_path: object) -> None:
    settings.BASE_DIR = tmp_path
    (tmp_path / "docs/openapi").mkdir(parents=True)
    call_command("write_schema")
    call_command("write_schema", check=True)
    (tmp_path / "docs/openapi/query.yaml").write_text("openapi: 3.0.3\n")
    with pytest.raises(CommandError, match=r"query\.yaml"):
        call_command("write_schema", check=True)


def test_every_operation_says_who_it_is_and_what_it_answers() -> None:
    for module in write_schema.API_MODULES:
        document = yaml.safe_load(write_schema.render(module))
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                assert operation["operationId"], (path, method)
                assert operation["responses"], (path, method)
                assert operation["tags"] == [module], (path, method)
