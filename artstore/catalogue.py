"""The message catalogues: gathers every sentence of the Django program, merges it into each
language's `django.po`, and compiles what Django reads.

A tool of the developers (`make messages`, and the test that finds a stale catalogue); nothing at run
time imports it. Babel does the work of GNU gettext, so that nobody has to install it. English is the
language of the source and has no catalogue.
"""

import ast
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent
LOCALE = ROOT / "locale"
SOURCES = ("apps", "artstore", "templates")
_SKIPPED = {"tests", "migrations", "__pycache__", "embedded"}
# Function name -> positions of what it translates; "c" marks the context's place (gettext's -k).
KEYWORDS: dict[str, Any] = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
# What `templatize` makes of a template: calls among blanked-out text.
_TEXT = r"u?(?:'''(?:\\.|[^\\])*?'''|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')"
_CALL = re.compile(rf"\b(n?p?gettext|_)\(\s*({_TEXT}(?:\s*,\s*{_TEXT})*)", re.DOTALL)


class Sentence(NamedTuple):
    """One text to translate. `plural` is empty where there is only one form."""

    context: str
    text: str
    plural: str


def languages() -> list[str]:
    return sorted(path.name for path in LOCALE.iterdir() if path.is_dir())


def po_file(language: str) -> Path:
    return LOCALE / language / "LC_MESSAGES" / "django.po"


def gather() -> dict[Sentence, list[str]]:
    """Every sentence and the files it stands in."""
    found: dict[Sentence, list[str]] = {}
    for path in _source_files():
        name = path.relative_to(ROOT).as_posix()
        sentences = _of_template(path) if path.suffix == ".html" else _of_python(path)
        for sentence in sentences:
            places = found.setdefault(sentence, [])
            if name not in places:
                places.append(name)
    return found


def merged(language: str) -> Catalog:
    """The language's catalogue with exactly the gathered sentences; known translations are kept."""
    catalogue = read(language)
    template = Catalog(fuzzy=False)
    for sentence, places in sorted(gather().items()):
        identity = (sentence.text, sentence.plural) if sentence.plural else sentence.text
        # Without line numbers, so that a moved line does not change the catalogue.
        template.add(
            identity, locations=[(place, 0) for place in places], context=sentence.context or None
        )
    catalogue.update(template, no_fuzzy_matching=True, update_creation_date=False)
    catalogue.obsolete.clear()
    return catalogue


def read(language: str) -> Catalog:
    with po_file(language).open("rb") as file:
        return read_po(file, locale=language, domain="django")


def as_po(catalogue: Catalog) -> bytes:
    buffer = io.BytesIO()
    write_po(
        buffer, catalogue, width=100, omit_header=False, include_lineno=False, sort_output=True
    )
    return buffer.getvalue()


def as_mo(catalogue: Catalog) -> bytes:
    buffer = io.BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


def untranslated(catalogue: Catalog) -> list[str]:
    """What still has no words in this language, or words that do not fit the sentence."""
    missing = []
    for message in catalogue:
        if not message.id:
            continue
        texts = message.string if isinstance(message.string, tuple | list) else (message.string,)
        wrong = (
            [str(problem) for problem in message.check(catalogue)] if all(texts) else ["missing"]
        )
        if message.fuzzy or wrong:
            missing.append(f"{message.id!r}: {' '.join(wrong)}")
    return missing


def _source_files() -> Iterator[Path]:
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            parts = set(path.relative_to(ROOT).parts)
            if path.suffix in {".py", ".html"} and not parts & _SKIPPED:
                yield path


def _of_python(path: Path) -> Iterator[Sentence]:
    with path.open("rb") as file:
        for _line, function, found, _comments in extract_python(file, KEYWORDS, (), {}):
            texts: list[Any] = list(found) if isinstance(found, (list, tuple)) else [found]
            # A call on something that is no literal is somebody else's to extract.
            if all(isinstance(text, str) for text in texts[: _arity(str(function))]):
                yield _sentence(str(function), texts)


def _of_template(path: Path) -> Iterator[Sentence]:
    for function, arguments in _CALL.findall(templatize(path.read_text(), str(path))):
        # The arguments are string literals and nothing else: the pattern says so.
        yield _sentence(function, list(ast.literal_eval(f"({arguments},)")))


def _arity(function: str) -> int:
    name = function.removesuffix("_lazy")
    return 1 + name.startswith(("n", "p")) + name.startswith("np")


def _sentence(function: str, texts: list[Any]) -> Sentence:
    name = function.removesuffix("_lazy")
    context = texts.pop(0) if "pgettext" in name else ""
    return Sentence(context, texts[0], texts[1] if name.startswith("n") else "")


def main() -> int:
    """Merge and compile every language; says what is left to translate."""
    left = 0
    for language in languages():
        catalogue = merged(language)
        po_file(language).write_bytes(as_po(catalogue))
        po_file(language).with_suffix(".mo").write_bytes(as_mo(catalogue))
        missing = untranslated(catalogue)
        left += len(missing)
        sys.stdout.write(f"{language}: {len(catalogue)} sentences, {len(missing)} to translate\n")
        sys.stdout.writelines(f"  {line}\n" for line in missing)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
