"""Pages as a browser shows them to people who cannot see, or use no mouse."""

import pytest


def barriers(browser, address, scheme, click=None):
    """The serious and critical findings of axe-core on the page, in this colour scheme, at a desk and on a telephone."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="brings axe-core").Axe()
    found = []
    for width in (1280, 390):
        context = browser.new_context(
            bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 900}
        )  # the page's own policy forbids foreign scripts
        page = context.new_page()
        page.goto(address)
        if click is not None:
            page.click(click)
        violations = axe.run(page).response["violations"]
        found += [(each["id"], each["nodes"][0]["html"]) for each in violations if each["impact"] in GRAVE]
        context.close()
    return found


GRAVE = ("serious", "critical")
