"""Pictures of every page, light and dark, wide and narrow: `make screenshots` keeps them in docs.

A system of its own is filled with files as people name them, and given a past, so that the pictures
show what an operator sees on an ordinary day. Elsewhere they go to `test-artifacts/`.
"""

import datetime as dt
import itertools
import json
import random
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import requests
from playwright.sync_api import Browser, expect
from psycopg.types.json import Jsonb

from artstore.tests import sample_content
from artstore.tests.browser import Visit, make_user
from artstore.tests.live import LiveSystem, eventually, free_ports

# The matrix looks at every page in the ordinary run; these are for people to look at.
pytestmark = [pytest.mark.browser, pytest.mark.drill]

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (1280, 360)
THEMES = ("light", "dark")
# As much as the whole dashboard needs.
README_HEIGHT = 1280
ALL_DRAWN = """async () => {
  await document.fonts.ready;
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
}"""
# name, type, description, tags, size in bytes
FILES = [
    ("Годовой отчёт 2026.pdf", "application/pdf", "Итоги года для совета", "отчёт, 2026", 840_000),
    ("annual_report-2026.PDF", "application/pdf", "The same in English", "report, 2026", 910_000),
    (
        "季度报告（最终版）.xlsx",
        "application/vnd.ms-excel",
        "Third quarter, final",
        "report",
        120_000,
    ),
    ("model-weights-v3.safetensors", "", "Night run on the north cluster", "model, v3", 4_000_000),
    (
        "stand-north_2026-11-21.csv",
        "text/csv",
        "Measured on the north stand",
        "raw, north",
        260_000,
    ),
    (
        "stand-south_2026-11-21.csv",
        "text/csv",
        "Measured on the south stand",
        "raw, south",
        240_000,
    ),
    ("client-1.4.2-linux.tar.gz", "application/gzip", "", "build, release", 2_400_000),
    ("client-1.4.2-windows.zip", "application/zip", "", "build, release", 2_600_000),
    ("photo 🏔️ sunrise.png", "image/png", "From the ridge camera", "camera", 700_000),
    ("схема стенда.svg", "image/svg+xml", "Чертёж северного стенда", "north", 48_000),
    ("deploy.yaml", "application/yaml", "", "config", 3_200),
    ("calibration.json", "application/json", "Factors after the repair", "north, config", 1_900),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "theme" in metafunc.fixturenames:
        metafunc.parametrize(("theme", "width"), list(itertools.product(THEMES, WIDTHS)))


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    chosen = request.config.getoption("--screenshots", default=None)
    target = Path(chosen) if chosen else ROOT / "test-artifacts" / "screenshots"
    target.mkdir(parents=True, exist_ok=True)
    return target


@pytest.fixture(scope="module")
def furnished() -> Iterator[LiveSystem]:
    """A system on an ordinary day."""
    system = LiveSystem()
    try:
        system.up()
        furnish(system)
        yield system
    finally:
        system.remove()


def furnish(system: LiveSystem) -> None:
    chance = random.Random(7)
    upload_files(system, chance)
    make_user(system, "readonly", "maria.lindqvist")
    make_user(system, "admin", "otto.brandt")
    system.service_account(["files:read", "files:write"], name="nightly-build")
    system.service_account(["files:read"], name="archive-reader", secret_expiration_days=3)
    settle_elements(system)
    edit_a_file(system)
    give_a_past(system, chance)


def edit_a_file(system: LiveSystem) -> None:
    """So that a timeline has something to tell."""
    session = system.session(system.admin_token())
    body = {"query": "photo 🏔️ sunrise.png", "mode": "exact"}
    found = session.post(f"{system.api}/search", json=body, timeout=60).json()["items"][0]
    for changes in ({"tags": ["camera", "ridge"]}, {"description": "From the ridge camera, 05:48"}):
        address = f"{system.api}/files/{found['file_id']}"
        assert session.patch(address, json=changes, timeout=60).status_code == 200


def copy_of(name: str, number: int) -> str:
    stem, dot, extension = name.rpartition(".")
    return f"{stem} ({number}){dot}{extension}"


def upload_files(system: LiveSystem, chance: random.Random) -> None:
    account = system.service_account(["files:write"], name="north-lab")
    token = requests.post(
        f"{system.api}/auth/token",
        data={"grant_type": "client_credentials"},
        auth=account,
        timeout=60,
    ).json()["access_token"]
    session = system.session(token)
    for number, (name, kind, description, tags, size_bytes) in enumerate(FILES * 3):
        fields = {
            "filename": name if number < len(FILES) else copy_of(name, number // len(FILES)),
            "description": description,
            "tags": json.dumps(tags.split(", ")),
            "metadata": json.dumps({"project": "north", "run": 42}) if number % 4 == 0 else "",
            "retention_policy": "permanent" if number % 3 == 0 else "temporary",
        }
        answer = session.put(
            f"{system.api}/files/upload",
            params={key: value for key, value in fields.items() if value},
            data=sample_content.content(kind, size_bytes, chance),
            headers={"Content-Type": kind or "application/octet-stream"},
            timeout=120,
        )
        assert answer.status_code == 201, answer.text


def settle_elements(system: LiveSystem) -> None:
    """Names as operators give them, one sync more, and a third element that has gone away."""
    session = system.session(system.admin_token())
    names = {"node-edit": "Frankfurt, rack 4", "node-rw": "Frankfurt archive"}
    for element in session.get(f"{system.api}/storage-elements").json()["items"]:
        address = f"{system.api}/storage-elements/{element['id']}"
        name = names.get(element["storage_id"], element["name"])
        assert session.patch(address, json={"name": name}, timeout=60).status_code == 200
        run = session.post(f"{address}/sync", json={"full": True}, timeout=60).json()
        eventually(
            lambda run=run: (
                session.get(f"{system.api}/sync-runs/{run['id']}").json()["status"] != "running"
            ),
            "the sync ended",
        )
        assert session.post(f"{address}/probe", timeout=60).status_code == 200
    with psycopg.connect(system.ready["database_url"]) as connection:
        add_lost_element(connection)
    lost = session.get(f"{system.api}/storage-elements", params={"q": "nsk"}).json()["items"][0]
    session.post(f"{system.api}/storage-elements/{lost['id']}/probe", timeout=60)


def add_lost_element(connection: psycopg.Connection) -> None:
    """A copy of a registered element's row that leads to a port where nobody listens."""
    (port,) = free_ports(1)
    changed = {
        "id": str(uuid.uuid4()),
        "name": "Novosibirsk lab",
        "url": f"https://127.0.0.1:{port}",
        "storage_id": "nsk-lab",
        "capacity_bytes": 8 * 2**30,
        "used_bytes": 7 * 2**30,
        "available_bytes": 2**30,
        "file_count": 0,
    }
    connection.execute(
        "insert into registry_storageelement select (jsonb_populate_record(e, %s)).*"
        " from registry_storageelement e limit 1",
        [Jsonb(changed)],
    )


def give_a_past(system: LiveSystem, chance: random.Random) -> None:
    """Spread today's uploads over a day, in this throw-away database only."""
    now = dt.datetime.now(dt.UTC)
    with psycopg.connect(system.ready["database_url"]) as connection:
        rows = connection.execute("select file_id from registry_filerecord").fetchall()
        for (file_id,) in rows:
            at = now - dt.timedelta(minutes=chance.randint(2, 23 * 60))
            connection.execute(
                "update registry_filerecord set uploaded_at = %s, updated_at = %s where file_id = %s",
                (at, at, file_id),
            )


@pytest.fixture(scope="module")
def pages(furnished: LiveSystem) -> dict[str, str]:
    """The name of each picture and the page it shows."""
    session = furnished.session(furnished.admin_token())

    def first(path: str, **filters: str) -> dict:
        return session.get(f"{furnished.api}/{path}", params=filters, timeout=60).json()["items"][0]

    element = first("storage-elements", q="rw")["id"]

    def file_named(name: str) -> str:
        body = {"query": name, "mode": "exact"}
        found = session.post(f"{furnished.api}/search", json=body, timeout=60).json()["items"]
        return str(found[0]["file_id"])

    file_id, text_id = file_named("photo 🏔️ sunrise.png"), file_named("stand-north_2026-11-21.csv")
    program, person = first("service-accounts")["id"], first("admin-users")["id"]
    run = first(f"storage-elements/{element}/sync-runs")["id"]
    return {
        "dashboard": "",
        "files": "files",
        "files-search": "files?query=north&mode=fulltext&tags=raw",
        "file": f"files/{file_id}",
        "file-text": f"files/{text_id}",
        "file-edit": f"files/{file_id}/edit",
        "file-delete": f"files/{file_id}/delete",
        "upload": "upload",
        "elements": "elements",
        "element": f"elements/{element}",
        "element-register": "elements/register",
        "element-edit": f"elements/{element}/edit",
        "element-remove": f"elements/{element}/remove",
        "element-garbage": f"elements/{element}/garbage",
        "element-mode": f"elements/{element}/mode?target_mode=ro",
        "sync-runs": "runs",
        "sync-run": f"runs/{run}",
        "users": "users",
        "user": f"users/{person}",
        "user-create": "users/create",
        "user-password": f"users/{person}/password",
        "service-accounts": "service-accounts",
        "service-account-create": "service-accounts/create",
        "service-account": f"service-accounts/{program}",
        "service-account-rotate": f"service-accounts/{program}/rotate",
        "service-account-remove": f"service-accounts/{program}/remove",
        "signing-keys": "keys",
        "signing-key-rotate": "keys/rotate",
        "audit": "audit",
        "account": "account",
        "not-found": "nowhere",
    }


def test_every_page_has_its_picture(
    theme: str,
    width: int,
    chromium: Browser,
    furnished: LiveSystem,
    pages: dict[str, str],
    folder: Path,
) -> None:
    visit = Visit(
        chromium, furnished, viewport={"width": width, "height": 900 if width > 400 else 780}
    )
    visit.use(theme=theme)
    visit.go("login")
    shoot(visit, folder / f"login-{theme}-{width}.png")
    visit.log_in("admin", furnished.admin_password)
    for name, path in pages.items():
        visit.go(path)
        visit.hold_still()
        shoot(visit, folder / f"{name}-{theme}-{width}.png")
    for name, act in (("files-tags", "Edit tags"), ("files-delete", "Delete")):
        choose_three_files(visit, act)
        shoot(visit, folder / f"{name}-{theme}-{width}.png")
    fill_the_queue(visit)
    shoot(visit, folder / f"upload-running-{theme}-{width}.png")
    visit.use(theme=theme, language="ru")
    visit.go("")
    visit.hold_still()
    shoot(visit, folder / f"dashboard-ru-{theme}-{width}.png")
    visit.close()


def test_the_readme_has_its_four_pictures(
    chromium: Browser, furnished: LiveSystem, pages: dict[str, str], folder: Path
) -> None:
    """One screen each, as one sees it, not the whole length of the page."""
    # The other pictures uploaded some files just now.
    give_a_past(furnished, random.Random(11))
    visit = Visit(chromium, furnished, viewport={"width": 1280, "height": README_HEIGHT})
    visit.log_in("admin", furnished.admin_password)
    shown = pages | {"files-search": "files?query=2026&mode=fulltext"}
    looks = {"dashboard": "light", "files-search": "dark", "file": "light", "element": "dark"}
    for name, theme in looks.items():
        visit.use(theme=theme)
        visit.go(shown[name])
        visit.hold_still()
        visit.page.evaluate(ALL_DRAWN)
        visit.page.screenshot(path=str(folder / f"readme-{name}.png"), animations="disabled")
    visit.close()


def choose_three_files(visit: Visit, act: str) -> None:
    visit.go("files")
    for box in visit.page.locator("[data-row]").all()[:3]:
        box.check()
    visit.page.get_by_role("button", name=act, exact=True).click()
    visit.page.locator(".chosen-files").wait_for()


def fill_the_queue(visit: Visit) -> None:
    """Five files on their way; one has a name no server takes."""
    visit.go("upload")
    visit.page.get_by_label("Tags").fill("north, raw")
    names = ["stand-north 10-40.csv", "stand-north 10-50.csv", "n" * 260 + ".csv", "протокол.txt"]
    visit.page.locator("#file").set_input_files(
        [{"name": name, "mimeType": "text/csv", "buffer": b"1,2\n" * 90_000} for name in names]
    )
    visit.page.get_by_role("button", name="Upload", exact=True).click()
    for row in visit.page.locator(".queue-row").all():
        expect(row).to_have_attribute("data-state", re.compile("done|failed"), timeout=60_000)


def shoot(visit: Visit, path: Path) -> None:
    # The sidebar is as high as the window, so the window is made as high as the page.
    height = visit.page.evaluate("document.documentElement.scrollHeight")
    size = visit.page.viewport_size
    assert size is not None
    visit.page.set_viewport_size({"width": size["width"], "height": max(size["height"], height)})
    visit.page.evaluate(ALL_DRAWN)
    visit.page.screenshot(path=str(path), animations="disabled")
    visit.page.set_viewport_size(size)
    assert path.stat().st_size > 5_000
