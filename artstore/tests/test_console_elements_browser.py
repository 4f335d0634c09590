"""Storage elements as an operator handles them: found, registered, watched, moved, lost, emptied."""

import base64
import json
import re
import secrets
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from artstore.tests.browser import Visit
from artstore.tests.live import LiveSystem
from storage_node.tests.node_process import Certificates, Issuer, NodeProcess

pytestmark = pytest.mark.browser

# More than a sync may mark as missing without a person's word.
FILES = 110
A_MINUTE = 60_000
NAME = "Rack 7, second row"


@pytest.fixture(scope="module")
def rack(live_web: LiveSystem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node nobody has registered yet, with files from an earlier life on it."""
    folder = tmp_path_factory.mktemp("rack")
    node = NodeProcess(
        folder / "node",
        Certificates.make(folder / "tls"),
        Issuer.make(),
        storage_id=f"rack-{secrets.token_hex(4)}",
        environment={"SE_MODE": "rw"},
    )
    with node:
        fill(node)
        node.stop()
        node.environment |= {"SE_JWKS_URL": f"{live_web.api}/auth/jwks"}
        yield node.start()


def fill(node: NodeProcess) -> None:
    session = node.session()
    for number in range(FILES):
        text = f"reading {number} of the second row\n"
        answer = session.put(
            f"/api/v1/files/{uuid.uuid4()}",
            data=text.encode(),
            headers={"X-ArtStore-Attributes": attributes(f"reading {number:03}.txt")},
        )
        assert answer.status_code == 201, answer.text


def attributes(name: str) -> str:
    fields = {
        "original_filename": name,
        "content_type": "text/plain",
        "description": "",
        "tags": ["raw"],
        "metadata": {},
        "retention_policy": "permanent",
    }
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


@pytest.fixture
def registered(rack: NodeProcess, live_web: LiveSystem) -> str:
    """The rack's id in the registry, whichever test came first."""
    session = live_web.session(live_web.admin_token())
    address = f"{live_web.api}/storage-elements"
    known = session.get(address, params={"q": rack.storage_id}).json()["items"]
    if known:
        return str(known[0]["id"])
    body = {"name": NAME, "url": rack.base_url, "ca_pem": rack.certificates.ca.read_text()}
    made = session.post(address, json=body, timeout=60)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def test_an_operator_discovers_registers_watches_the_first_sync_and_browses_the_files(
    admin: Visit, rack: NodeProcess
) -> None:
    page = admin.page
    admin.go("elements")
    page.get_by_role("link", name="Register an element").first.click()
    page.get_by_label("Address").fill(rack.base_url)
    page.get_by_label("Certificate to trust (PEM)").fill(rack.certificates.ca.read_text())
    page.get_by_role("button", name="Ask what is there").click()
    expect(page.locator(".preview")).to_contain_text(rack.storage_id)
    expect(page.locator(".preview .badge-mode")).to_have_text("rw")
    page.get_by_label("Name").fill(NAME)
    page.get_by_role("button", name="Register").click()
    page.wait_for_url(re.compile(r"/console/runs/[0-9a-f-]{36}$"))
    expect(page.get_by_role("status").first).to_contain_text("its first sync has begun")
    expect(page.locator("#run-title")).to_have_text("Succeeded", timeout=A_MINUTE)
    expect(page.locator(".figures")).to_contain_text(f"Added{FILES}")
    page.get_by_role("link", name="Browse the element's files").click()
    expect(page.locator("#results-title")).to_have_text(f"{FILES} files")
    page.locator("#results .file-name a").first.click()
    expect(page.locator(".preview-text")).to_contain_text("of the second row")
    page.get_by_role("link", name=NAME).click()
    expect(page.locator("#element-files tbody tr")).to_have_count(10)
    page.get_by_role("link", name=f"All {FILES} of them").click()
    expect(page.locator("#results-title")).to_have_text(f"{FILES} files")


def test_an_element_is_moved_from_rw_to_ro_and_back_with_a_word_of_confirmation(
    admin: Visit, registered: str
) -> None:
    page = admin.page
    admin.go(f"elements/{registered}")
    page.get_by_role("link", name="Change to ro").click()
    page.get_by_role("button", name="Change to ro").click()
    expect(page.get_by_role("status").first).to_contain_text("is now in mode ro")
    page.get_by_role("link", name="Change to rw").click()
    page.get_by_role("button", name="Change to rw").click()
    expect(page.locator("#id_confirm_error")).to_contain_text("Confirm this step.")
    page.get_by_label("I know what this does").check()
    page.get_by_role("button", name="Change to rw").click()
    expect(page.get_by_role("status").first).to_contain_text("is now in mode rw")
    expect(page.locator("#element .badge-mode")).to_have_text("rw")


def test_reconcile_and_garbage_are_started_and_their_findings_are_shown(
    admin: Visit, registered: str
) -> None:
    page = admin.page
    admin.go(f"elements/{registered}")
    page.locator(".acts").get_by_role("button", name="Reconcile").click()
    expect(page.get_by_role("status").first).to_contain_text("has begun to reconcile")
    expect(page.locator("#findings")).to_contain_text("Nothing was found", timeout=A_MINUTE)
    page.get_by_role("link", name="Show what would go").click()
    expect(page.locator(".figures")).to_contain_text("Files that would be freed0")
    page.get_by_role("link", name="Back to the element").click()
    page.get_by_role("button", name="Begin maintenance").click()
    expect(page.locator("#element")).to_contain_text("Maintenance")
    page.get_by_role("button", name="End maintenance").click()
    expect(page.get_by_role("status").first).to_contain_text("Maintenance has ended.")


def test_an_element_goes_down_and_the_dashboard_says_so_within_a_minute_and_why(
    admin: Visit, registered: str, rack: NodeProcess
) -> None:
    page = admin.page
    admin.go(f"elements/{registered}")
    page.get_by_role("button", name="Probe").click()
    expect(page.locator("#element")).to_contain_text("Online")
    admin.go("")
    concern = page.locator(".attention li", has_text=NAME)
    expect(concern).to_have_count(0)
    beside = admin.context.new_page()
    beside.goto(f"/console/elements/{registered}")
    rack.kill()
    try:
        # Nobody presses anything: the probe finds out, and the page refreshes itself.
        expect(concern).to_contain_text("Offline", timeout=A_MINUTE)
        # Refused or, on a busy machine, not answered in time.
        why = re.compile("The element (cannot be reached|did not accept a connection in time)")
        expect(concern).to_contain_text(why)
        # Who was on its page sees it there too, and what they press is answered in words.
        expect(beside.locator("#element")).to_contain_text("Offline", timeout=A_MINUTE)
        for act in ("Probe", "Reconcile", "Begin maintenance", "End maintenance"):
            # The notice of the act before is on the page until this one's answer takes its place.
            with beside.expect_navigation():
                beside.get_by_role("button", name=act, exact=True).click()
            expect(beside.locator("#notices .alert")).to_have_count(1)
            expect(beside.get_by_role("heading", level=1)).to_have_text(NAME)
        beside.get_by_role("link", name="Show what would go").click()
        expect(beside.locator("#notices [role=alert]")).to_contain_text(why)
        beside.close()
        admin.use(language="ru")
        page.reload()
        expect(concern).to_contain_text("Недоступен")
        expect(concern).not_to_contain_text("The element")
    finally:
        rack.start()
    admin.use(language="en")
    admin.go(f"elements/{registered}")
    page.get_by_role("button", name="Probe").click()
    expect(page.locator("#element")).to_contain_text("Online")


def test_a_mass_deletion_waits_for_a_persons_word_and_happens_with_it(
    admin: Visit, registered: str, rack: NodeProcess
) -> None:
    page = admin.page
    admin.go(f"elements/{registered}")
    page.get_by_role("button", name="Sync everything").click()
    expect(page.locator("#run-title")).to_have_text("Succeeded", timeout=A_MINUTE)
    lose_every_file(rack)
    admin.go(f"elements/{registered}")
    page.get_by_role("button", name="Sync everything").click()
    expect(page.locator("#run-title")).to_have_text("Waits for your word", timeout=A_MINUTE)
    expect(page.get_by_role("alert")).to_contain_text(f"{FILES} of {FILES} active files")
    admin.use(language="ru")
    page.reload()
    expect(page.get_by_role("alert")).not_to_contain_text("active files")
    expect(page.get_by_role("alert")).to_contain_text(str(FILES))
    admin.use(language="en")
    admin.go("")
    concern = page.locator(".attention li", has_text=NAME)
    expect(concern).to_contain_text("waits for your word")
    page.go_back()
    page.reload()
    page.get_by_role("button", name="Run a full sync that may delete them").click()
    expect(page.locator("#run-title")).to_have_text("Succeeded", timeout=A_MINUTE)
    expect(page.locator(".figures")).to_contain_text(f"Deleted{FILES}")
    admin.go(f"files?element={registered}")
    expect(page.get_by_role("heading", name="No file matches")).to_be_visible()
    admin.go(f"files?element={registered}&status=deleted")
    expect(page.locator("#results-title")).to_have_text(f"{FILES} files")
    page.locator("#results .file-name a").first.click()
    expect(page.get_by_text("Missing on its element")).to_be_visible()


def lose_every_file(node: NodeProcess) -> None:
    """What a careless `rm` does: bytes and attributes are gone, and nothing says why."""
    node.stop()
    for path in sorted((node.data_dir / "files").rglob("*")):
        if path.is_file():
            path.unlink()
    assert node.run("rebuild-index").returncode == 0
    node.start()


def test_an_address_that_may_not_be_asked_is_refused_in_words(
    admin: Visit,
) -> None:
    admin.go("elements/register")
    admin.page.get_by_label("Address").fill("http://169.254.169.254")
    admin.page.get_by_role("button", name="Ask what is there").click()
    expect(admin.page.get_by_role("alert")).to_contain_text("only https is accepted")
