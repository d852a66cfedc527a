"""Usage, keys and owners, as an administrator and as those with less see them."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import expect

from tests.e2e.dashboard.browser import LAPTOP, PHONE, WALL, Tab
from tests.e2e.dashboard.conftest import OpenTab, sign_in
from tests.e2e.service import Service
from tests.servers import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_key_is_made_shown_once_used_and_revoked(locked: Service, open_tab: OpenTab) -> None:
    page = sign_in(open_tab(locked), locked)
    page.get_by_role("button", name="New key").click()
    dialog = page.get_by_role("dialog", name="New API key")
    dialog.get_by_role("textbox", name="Name").fill("microscope")
    dialog.get_by_role("textbox", name="Owner").fill("Not An Owner!")
    dialog.get_by_role("button", name="Make the key").click()
    refusal = locked.http.post("/keys", json={"name": "microscope", "owner": "Not An Owner!"}).json()
    dialog.get_by_text(refusal["errors"][0]["message"]).wait_for()
    dialog.get_by_role("textbox", name="Owner").fill("cells")
    dialog.get_by_role("combobox", name="Scope").click()
    page.get_by_role("option", name="read").click()
    dialog.get_by_role("button", name="Make the key").click()
    shown = dialog.locator("[data-secret]")
    key = shown.inner_text()
    me = httpx2.get(f"{locked.url}/me", headers={"Authorization": f"Bearer {key}"}).json()
    assert (me["owner"]["name"], me["scope"]) == ("cells", "read")
    dialog.get_by_role("button", name="I have kept it").click()
    shown.wait_for(state="detached")
    assert key not in page.content()
    row = page.get_by_role("row", name="microscope")
    listed = next(each for each in locked.get("/keys")["data"] if each["name"] == "microscope")
    assert listed["expires_at"] is not None
    assert listed["prefix"] in row.inner_text()

    other = open_tab(locked)
    reader = sign_in(other, locked, key)
    reader.get_by_text("It may not upload images or teachers").wait_for()
    reader.get_by_role("row", name="microscope (this one)").wait_for()
    assert reader.get_by_role("button", name="New key").count() == 0
    assert reader.get_by_role("button", name="Revoke").count() == 0
    assert reader.get_by_role("heading", name="Owners").count() == 0
    assert reader.get_by_role("table", name="API keys").get_by_role("row").count() == 2
    reader.get_by_role("link", name="New job").click()
    reader.get_by_text("This key may only look").wait_for()

    row.get_by_role("button", name="Revoke the key microscope").click()
    asked = page.get_by_role("dialog", name=re.compile("Revoke the key"))
    asked.get_by_role("button", name="Revoke the key").click()
    row.get_by_text("revoked", exact=True).wait_for()
    # The other tab finds out by itself.
    reader.get_by_role("link", name="Usage, keys and webhooks").click()
    reader.get_by_role("heading", level=1, name="API key", exact=True).wait_for()
    other.expect_no_complaints("401")


def test_an_administrator_sees_owners_and_gives_them_quotas(locked: Service, open_tab: OpenTab) -> None:
    locked.post("/keys", json={"name": "scanner", "owner": "slides"})
    page = sign_in(open_tab(locked), locked)
    page.get_by_role("button", name="Change the quotas of slides").click()
    dialog = page.get_by_role("dialog", name="Quotas of slides")
    assert dialog.get_by_role("textbox", name="Jobs that wait").input_value() == "20"
    dialog.get_by_role("textbox", name="Jobs that wait").fill("")
    dialog.get_by_role("textbox", name="Images").fill("5000")
    dialog.get_by_role("button", name="Set the quotas").click()
    dialog.wait_for(state="hidden")
    page.get_by_role("row", name="slides").get_by_text("of 5,000").wait_for()
    (owner,) = [each for each in locked.get("/owners")["data"] if each["name"] == "slides"]
    assert (owner["quotas"]["images"], owner["quotas"]["queued_jobs"]) == (5000, 20)


@pytest.mark.parametrize(
    ("look", "scheme"), [(LAPTOP, "dark"), (PHONE, "dark"), (PHONE, "light"), (WALL, "light"), (WALL, "dark")]
)
def test_the_account_is_accessible_and_fits(
    locked: Service, open_tab: OpenTab, look: dict[str, int], scheme: str
) -> None:
    locked.http.patch("/owners/lab/quotas", json={"bytes": 10**9, "images": 0, "running_jobs": 2})
    tab = open_tab(locked, viewport=look, color_scheme=scheme)
    page = sign_in(tab, locked)
    page.get_by_role("progressbar", name="Images: 100 % used").wait_for()
    page.get_by_role("table", name="Owners").wait_for()
    tab.shoot(f"usage-{scheme}-{look['width']}")
    problems = tab.violations()
    page.get_by_role("button", name="New key").click()
    page.get_by_role("dialog", name="New API key").wait_for()
    problems += tab.violations()
    assert not tab.overflows()
    page.keyboard.press("Escape")

    webhook = locked.post("/webhooks", json={"url": f"http://127.0.0.1:{free_port()}/{'hook/' * 30}"})
    locked.post(f"/webhooks/{webhook['id']}/test", status=202)
    page.get_by_role("link", name="Webhooks", exact=True).click()
    page.get_by_role("link", name=webhook["url"]).wait_for()
    tab.shoot(f"webhooks-{scheme}-{look['width']}")
    problems += tab.violations()
    assert not tab.overflows()
    page.get_by_role("link", name=webhook["url"]).click()
    page.get_by_text("1. failed").wait_for()
    tab.shoot(f"webhook-{scheme}-{look['width']}")
    problems += tab.violations()
    assert problems == [], "\n".join(problems)
    assert not tab.overflows()
    locked.http.delete(f"/webhooks/{webhook['id']}")
    tab.expect_no_complaints("401", "404")


def test_without_keys_the_page_says_how_to_switch_them_on(tab: Tab) -> None:
    page = tab.open("usage")
    page.get_by_text("WECOLORA_AUTH=keys ./run serve").wait_for()
    assert page.get_by_role("button", name="New key").count() == 0
    assert tab.violations() == []


def test_a_webhook_is_registered_reaches_the_receiver_of_the_page_and_is_deleted(
    locked: Service, open_tab: OpenTab, tmp_path: Path
) -> None:
    tab = open_tab(locked)
    page = sign_in(tab, locked)
    page.get_by_role("link", name="Webhooks", exact=True).click()
    page.get_by_role("heading", name="No webhooks yet").wait_for()
    example = page.locator("[data-example]").inner_text()
    tab.shoot("webhooks-none")
    problems = tab.violations()
    page.get_by_role("button", name="New webhook").click()
    dialog = page.get_by_role("dialog", name="New webhook")
    url = dialog.get_by_role("textbox", name="URL")
    url.fill("http://10.0.0.1/hook")
    dialog.get_by_role("button", name="Register the webhook").click()
    dialog.get_by_text("is an address that is not on the public internet").wait_for()
    problems += tab.violations()
    port = free_port()
    url.fill(f"http://127.0.0.1:{port}/")
    dialog.get_by_role("checkbox", name="job.started").uncheck()
    dialog.get_by_role("button", name="Register the webhook").click()
    secret = dialog.locator("[data-secret]").inner_text()
    dialog.get_by_role("button", name="I have kept it").click()
    page.get_by_role("link", name=f"http://127.0.0.1:{port}/").click()
    page.get_by_role("heading", level=1, name=f"127.0.0.1:{port}").wait_for()
    assert secret not in page.content()
    [webhook] = locked.get("/webhooks")["data"]
    assert "job.started" not in webhook["events"]
    assert "job.failed" in webhook["events"]

    # Nobody listens yet.
    page.get_by_role("button", name="Send a test").click()
    row = page.get_by_role("table", name="Deliveries, newest first").get_by_role("row", name="webhook.test")
    expect(row).to_contain_text("1. failed")
    expect(row).to_contain_text("pending")
    page.get_by_text("Every try has failed since").wait_for()
    problems += tab.violations()
    script = tmp_path / "receiver.py"
    script.write_text(example.replace("whsec_…", secret).replace("8080", str(port)))
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as receiver:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                page.wait_for_timeout(100)
            row.get_by_role("button", name="Send again").click()
            expect(row).to_contain_text("2. taken with 204")
            expect(row).to_contain_text("delivered")
            assert receiver.stdout.readline().startswith("webhook.test {")
        finally:
            receiver.terminate()
    page.get_by_text("Every try has failed since").wait_for(state="detached")
    tab.shoot("webhook")
    problems += tab.violations()
    assert problems == [], "\n".join(problems)

    page.get_by_role("button", name="New secret").click()
    asked = page.get_by_role("dialog", name="Give this webhook a new secret?")
    asked.get_by_role("button", name="New secret").click()
    shown = page.get_by_role("dialog", name="New secret", exact=True)
    assert shown.locator("[data-secret]").inner_text() != secret
    shown.get_by_role("button", name="I have kept it").click()
    page.get_by_text("messages are signed with the secret before this one, too").wait_for()
    page.get_by_role("button", name="Switch off").click()
    page.get_by_text("switched off", exact=True).wait_for()
    expect(page.get_by_role("button", name="Send a test")).to_have_count(0)
    assert locked.get(f"/webhooks/{webhook['id']}")["active"] is False
    page.get_by_role("button", name="Delete the webhook").click()
    asked = page.get_by_role("dialog", name="Delete this webhook?")
    asked.get_by_role("button", name="Delete the webhook").click()
    page.get_by_role("heading", name="No webhooks yet").wait_for()
    assert locked.http.get(f"/webhooks/{webhook['id']}").status_code == 404
    tab.expect_no_complaints("401", "422")
