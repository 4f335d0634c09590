"""Shell glue: an `ArtStoreError` that leaves a command becomes one sentence and exit code 1."""

import logging
import sys
from argparse import ArgumentTypeError
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email

from artstore.errors import ArtStoreError


class OperatorCommand(BaseCommand):
    """Base of the operators' commands. They act as the system: whoever has this shell has it all.

    What a command has to say it prints; the program's log, but for warnings, comes with `-v 2`.
    """

    def execute(self, *args: Any, **options: Any) -> str | None:
        log = logging.getLogger()
        level = log.level
        if options["verbosity"] <= 1:
            log.setLevel(max(level, logging.WARNING))
        try:
            return super().execute(*args, **options)
        except ArtStoreError as failure:
            raise CommandError(_sentence(failure)) from failure
        finally:
            log.setLevel(level)

    def secret_from_input(self, prompt: str) -> str:
        """One line of standard input; secrets never travel in argv, where `ps` shows them."""
        if sys.stdin.isatty():
            self.stderr.write(prompt, ending="")
        return sys.stdin.readline().rstrip("\r\n")


def email_address(text: str) -> str:
    """The type of an argument that takes an e-mail address."""
    try:
        validate_email(text)
    except ValidationError as failure:
        raise ArgumentTypeError(f"{text} is not an e-mail address") from failure
    return text


def _sentence(failure: ArtStoreError) -> str:
    details = (failure.details or {}).items()
    told = str(failure)
    said = [(name, " ".join(map(str, texts))) for name, texts in details]
    return " ".join([told, *(f"{name}: {text}" for name, text in said if text != told)])
