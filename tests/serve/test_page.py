"""The page, in a real browser; and what it asks for, without one."""

import base64
import hashlib
import io
import json
import re

import jsonschema
import numpy as np
import pytest
from PIL import Image
from starlette.routing import Route

from browsing import barriers
from dsmooth import TorchClassifier
from dsmooth.serve.app import gateway as application
from dsmooth.serve.callers import Caller
from dsmooth.serve.settings import Settings
from serve.running import SIZE, gateway, picture
from support import Halves


def halves(left, right):
    """A picture file of two halves."""
    pixels = np.full((SIZE, SIZE, 3), left, np.uint8)
    pixels[:, SIZE // 2 :] = right
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pixels_of(file):
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).astype(float)


@pytest.fixture(scope="module")
def running():
    classifier = TorchClassifier(Halves(), class_names=["<b>left</b> & darker", "right"])
    with gateway(classifier=classifier, denoiser=lambda x, sigma: x.clamp(0, 1), terms={"n": 1000}) as opened:
        opened.desk.allow_attack = True
        opened.desk.samples = {"<i>bright</i>": halves(100, 101), "other": halves(50, 51)}
        yield opened


def test_a_noisy_copy_is_shown(running):
    told = running.ask("POST", "/v1/show", halves(100, 101)).value
    noisy, denoised = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(told[name])))) for name in ("noisy", "denoised")
    )
    assert noisy.shape == denoised.shape == (SIZE, SIZE, 3)
    assert 40 < noisy.std() < 80  # sigma is 64 of 255
    assert abs(noisy.astype(int) - denoised).max() <= 1
    assert told["answer"] == "<b>left</b> & darker"
    assert running.ask("POST", "/v1/show", halves(100, 101)).value["noisy"] != told["noisy"]


def test_an_attack_turns_the_classifier_alone_inside_the_radius(running):
    file = halves(100, 101)
    radius = running.ask("POST", "/v1/certify", file).value["radius"]
    told = running.ask("POST", f"/v1/attack?radius={radius}", file).value
    assert (told["before"], told["after"]) == ("<b>left</b> & darker", "right")
    assert told["smoothed"] == "<b>left</b> & darker"
    assert float(told["distance"]) <= float(radius)
    moved = np.asarray(Image.open(io.BytesIO(base64.b64decode(told["picture"])))).astype(float)
    original = np.asarray(Image.open(io.BytesIO(file))).astype(float)
    assert 0 < np.linalg.norm((moved - original) / 255) <= float(radius)


@pytest.mark.parametrize("radius", ["", "0", "x", "1e3", "-1", "inf", "nan", "1" * 50, "0.5&radius=1"])
def test_a_radius_that_is_none(running, radius):
    if "&" not in radius:
        assert running.ask("POST", f"/v1/attack?radius={radius}", halves(100, 101)).status == 400


def test_nothing_is_attacked_where_the_operator_did_not_say_so():
    with gateway() as quiet:
        assert quiet.ask("POST", "/v1/attack?radius=0.5", picture()).status == 403


def checked(running, document, file=None):
    body = {"certificate": base64.b64encode(document).decode()}
    if file is not None:
        body["picture"] = base64.b64encode(file).decode()
    return running.ask("POST", "/v1/verify", json.dumps(body).encode())


def test_a_certificate_is_checked(running):
    file = halves(90, 120)
    name = running.ask("POST", "/v1/certify", file).value["certificate"]
    document = running.ask("GET", f"/v1/certificates/{name}").body
    told = checked(running, document, file).value
    assert told["holds"] is True
    outcomes = {check["what"]: check["outcome"] for check in told["checks"]}
    assert outcomes["claims"] == outcomes["key"] == outcomes["images"] == "holds"
    assert checked(running, document, halves(90, 121)).value["holds"] is False
    value = json.loads(document)
    value["claim"]["radius"] = "9.0"
    assert checked(running, json.dumps(value).encode()).value["holds"] is False
    for broken in (b"", b"{}", b"\xff", b"[" * 10_000):
        assert checked(running, broken).status == 400


def test_openapi_lists_the_routes_and_describes_the_answers(running):
    told = running.ask("GET", "/openapi.json").value
    app = application(running.desk, Settings(port=0))
    routes = {
        (route.path, method.lower()) for route in app.routes if isinstance(route, Route) for method in route.methods
    }
    listed = {(path, method) for path, methods in told["paths"].items() for method in methods}
    assert listed == {(path, method) for path, method in routes if method != "head"}

    def valid(value, name):
        schema = {"$ref": f"#/components/schemas/{name}", "components": told["components"]}
        jsonschema.Draft202012Validator(schema).validate(value)

    valid(running.ask("POST", "/v1/certify", halves(10, 20)).value, "Answer")
    valid(running.ask("POST", "/v1/predict", halves(10, 20)).value, "Answer")
    valid(running.ask("POST", "/v1/jobs", halves(10, 20)).value, "Job")
    valid(running.ask("POST", "/v1/certify", b"x").value, "Refusal")


def test_the_page_loads_nothing_from_elsewhere(running):
    html = running.ask("GET", "/")
    policy = html.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "*" not in policy
    files = [html.body.decode(), *(running.ask("GET", path).body.decode() for path in ("/page.css", "/page.js"))]
    assert not any(re.search(r"https?://|style=|innerHTML|eval\(", text) for text in files)


@pytest.fixture
def page(browser, running):
    context = browser.new_context(viewport={"width": 1000, "height": 800}, accept_downloads=True)
    opened = context.new_page()
    wrong = []
    opened.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda asked: None if asked.url.startswith(running.url) else wrong.append(asked.url))
    opened.goto(running.url)
    yield opened
    context.close()
    assert [text for text in wrong if "status of 4" not in text and "favicon" not in text] == []


def upload(page, file, name="cat.png"):
    page.set_input_files("#picture", {"name": name, "mimeType": "image/png", "buffer": file})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, running, scheme):
    assert barriers(browser, running.url, scheme) == []


def test_a_picture_is_certified_attacked_and_checked_in_a_browser(page, tmp_path):
    upload(page, halves(100, 101))
    page.wait_for_selector("#promise:not([hidden])")
    assert page.text_content("#answer") == "<b>left</b> & darker"
    words = page.text_content("#words")
    radius = float(page.text_content("#radius").partition(" ")[0])
    assert "of the pixels with an l2 length" in words
    assert f"one colour value changed by {np.floor(2550 * radius) / 10:g} of 255" in words
    assert page.text_content("#count") == "1000 of 1000"
    page.wait_for_selector("#shown:not([hidden])")
    assert page.text_content("#plain") == "<b>left</b> & darker"
    assert page.evaluate("document.getElementById('noisy').width") == SIZE
    page.fill("#slider", "100")
    assert "0%" in page.evaluate("document.getElementById('denoised').style.clipPath")
    page.wait_for_selector("#pictured:not([hidden])")
    marked = base64.b64decode(page.evaluate("document.getElementById('marked').toDataURL()").partition(",")[2])
    steps = pixels_of(marked) - pixels_of(halves(100, 101))
    assert 0.95 * radius < np.linalg.norm(steps / 255) < 1.05 * radius  # but for rounding to bytes
    page.click("#attack")
    page.wait_for_selector("#attacked:not([hidden])")
    assert page.text_content("#alone") == "said <b>left</b> & darker, now says right"
    assert page.text_content("#smoothed") == "still says <b>left</b> & darker"
    assert float(page.text_content("#distance").partition(",")[0]) <= radius
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "certificate.json")
    (tmp_path / "x.png").write_bytes(halves(100, 101))
    page.focus("#tab-certify")
    page.keyboard.press("ArrowRight")
    page.set_input_files("#document", tmp_path / "certificate.json")
    page.set_input_files("#original", tmp_path / "x.png")
    page.click("#check")
    page.wait_for_selector("#checks:not([hidden])")
    assert page.text_content("#checked").startswith("Consistent")
    (tmp_path / "y.png").write_bytes(halves(100, 102))
    page.set_input_files("#original", tmp_path / "y.png")
    page.click("#check")
    page.wait_for_selector("#checked:has-text('It does not hold.')")


def test_a_server_with_keys_lets_the_page_in_with_one(browser, tmp_path):
    caller = Caller("alice", hashlib.sha256(b"alice-key").hexdigest())
    with gateway(callers=[caller], terms={"n": 1000}) as running, browser.new_context(accept_downloads=True) as context:
        page = context.new_page()
        page.goto(running.url)
        page.wait_for_selector("#let-in:not([hidden])")
        upload(page, picture(200))
        page.wait_for_selector("#error:not([hidden])")
        assert "expected an API key of this server" in page.text_content("#error")
        for wrong, says in (("bob-key", "got another"), ("ключ", "printable ASCII"), ("", "printable ASCII")):
            page.fill("#key", wrong)
            page.keyboard.press("Enter")
            page.wait_for_selector(f"#key-error:has-text('{says}')")
        page.fill("#key", "alice-key")
        page.click("text=Use this key")
        page.wait_for_selector("#let-in", state="hidden")
        upload(page, picture(201))
        page.wait_for_selector("#promise:not([hidden])")
        assert page.text_content("#answer") == "light"
        assert page.text_content("#count") == "1000 of 1000"
        page.wait_for_selector("#shown:not([hidden])")
        with page.expect_download() as download:
            page.click("#download")
        download.value.save_as(tmp_path / "certificate.json")
        assert json.loads((tmp_path / "certificate.json").read_bytes())["record"]["asked"]["n"] == 1000
        page.click("#tab-verify")
        page.set_input_files("#document", tmp_path / "certificate.json")
        page.click("#check")
        page.wait_for_selector("#checked:has-text('Consistent')")
        assert "alice-key" not in page.content()
    assert "alice-key" not in str(running.log)


def test_a_picture_that_the_server_offers_is_certified(page):
    page.wait_for_selector("#samples:not([hidden])")
    assert page.locator("#samples button").all_text_contents() == ["<i>bright</i>", "other"]
    page.click("#samples button >> nth=1")
    page.wait_for_selector("#promise:not([hidden])")
    assert page.text_content("#answer") == "<b>left</b> & darker"


def test_pictures_that_are_not_offered_are_a_404(running):
    assert running.ask("GET", "/v1/samples").value == {"names": ["<i>bright</i>", "other"]}
    assert running.ask("GET", "/v1/samples/0").body == halves(100, 101)
    for number in ("2", "-1", "00", "x", "1e1"):
        assert running.ask("GET", f"/v1/samples/{number}").status == 404


def test_votes_are_seen_to_grow(page):
    seen = set()
    page.expose_function("told", lambda text: seen.add(int(text)))
    page.evaluate(
        "new MutationObserver(() => told(document.getElementById('counted').textContent))"
        ".observe(document.getElementById('counted'), {childList: true, characterData: true, subtree: true})"
    )
    page.route("**/v1/jobs", lambda route: route.continue_(url=f"{route.request.url}?n=600000"))
    upload(page, halves(50, 70))
    page.wait_for_selector("#promise:not([hidden])", timeout=120_000)
    assert 600_000 in seen
    assert len(seen) > 3


def test_an_error_is_a_sentence_and_the_next_picture_is_answered(page):
    upload(page, b"no picture")
    page.wait_for_selector("#error:not([hidden])")
    assert "expected a readable" in page.text_content("#error")
    upload(page, halves(30, 60), "dog.png")
    page.wait_for_selector("#promise:not([hidden])")
    assert page.is_hidden("#error")
    page.click("#tab-verify")
    page.click("#check")
    assert page.text_content("#check-error") == "Choose a certificate file first."


def test_a_dropped_picture_is_certified(page):
    data = base64.b64encode(halves(33, 66)).decode()
    page.evaluate(
        """data => {
            const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0)), held = new DataTransfer();
            held.items.add(new File([bytes], "x.png", {type: "image/png"}));
            document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: held, cancelable: true}));
        }""",
        data,
    )
    page.wait_for_selector("#promise:not([hidden])")


def test_on_a_phone_and_in_the_dark_nothing_is_cut_off(page):
    page.set_viewport_size({"width": 340, "height": 700})
    page.emulate_media(color_scheme="dark")
    upload(page, halves(100, 101))
    page.wait_for_selector("#promise:not([hidden])")
    page.wait_for_selector("#shown:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 28)"


def test_everything_has_a_name_for_who_cannot_see_it(page):
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, button, canvas, a")].filter(e =>
            !(e.labels && e.labels.length) && !e.getAttribute("aria-label") && !e.textContent.trim()).map(e => e.id)"""
    )
    assert unnamed == []
    assert page.get_attribute("html", "lang") == "en"
