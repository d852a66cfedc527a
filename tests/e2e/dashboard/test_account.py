"""Usage, keys and owners, as an administrator and as those with less see them."""

import re

import httpx2
import pytest

from tests.e2e.dashboard.browser import LAPTOP, PHONE, Tab
from tests.e2e.dashboard.conftest import OpenTab, sign_in
from tests.e2e.service import Service

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
    shown = dialog.locator("[data-key]")
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
    reader.get_by_role("link", name="Usage and keys").click()
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


@pytest.mark.parametrize(("look", "scheme"), [(LAPTOP, "light"), (LAPTOP, "dark"), (PHONE, "dark")])
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
    assert problems + tab.violations() == []
    assert not tab.overflows()
    tab.expect_no_complaints("401")


def test_without_keys_the_page_says_how_to_switch_them_on(tab: Tab) -> None:
    page = tab.open("usage")
    page.get_by_text("WECOLORA_AUTH=keys ./run serve").wait_for()
    assert page.get_by_role("button", name="New key").count() == 0
    assert tab.violations() == []
