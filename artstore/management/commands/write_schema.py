"""Writes docs/openapi/<module>.yaml from the code, or says that they differ."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer

from artstore.urls import compose

API_MODULES = ("admin", "ingester", "query")


def render(module: str) -> str:
    """The OpenAPI document of a process that serves `module` alone, as YAML."""
    generator = SchemaGenerator(patterns=compose((module,)))
    schema = generator.get_schema(request=None, public=True)
    schema["info"]["title"] = f"ArtStore {module}"
    schema["info"]["x-modules"] = [module]
    text: bytes = OpenApiYamlRenderer().render(schema, renderer_context={})
    return text.decode()


class Command(BaseCommand):
    help = "Write the OpenAPI document of each module; with --check only compare."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true")

    def handle(self, *_args: Any, **options: Any) -> None:
        folder = Path(settings.BASE_DIR) / "docs" / "openapi"
        for module in API_MODULES:
            path, text = folder / f"{module}.yaml", render(module)
            if not options["check"]:
                path.write_text(text, encoding="utf-8")
            elif not path.exists() or path.read_text(encoding="utf-8") != text:
                raise CommandError(f"{path} is not what the code gives: run manage.py write_schema")
