"""The real page in a real browser against the real services: what a sonographer does, from pairing to a kept sweep."""

import importlib.resources
import time

import numpy as np
import pytest
from chromium import missing
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from tablet_clinic import COLUMNS, SPACING_MM, clinic

from edge.services import SERVICES

pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing() or "runs"), pytest.mark.timeout(300)]
SIZES = [(1180, 820), (820, 1180), (1280, 800)]
RECT = (
    "const b = document.querySelector('.pane[data-view=lateral-axial]').getBoundingClientRect(); const rect = [b.x, b.y, b.width, b.height]"
)
TOUCHED_WHERE_IT_WAS_SEEN = (
    f"const [seen, ends, y] = arguments; {RECT}; if (String(rect) !== String(seen)) return false;"
    "for (const x of ends) document.querySelector('.overlay.active').dispatchEvent("
    "new PointerEvent('pointerdown', {clientX: x, clientY: y, bubbles: true, cancelable: true})); return true"
)
SCREENS = ("live", "review", "library", "settings")


def covered(words):
    """Nobody takes the image for a live one, and these words say why."""
    said = f"document.querySelector('.live-cover').innerText.includes('{words}')"
    return f"document.querySelector('.live-image').dataset.live === 'stale' && {said}"


@pytest.fixture(scope="module")
def place():
    """See ``clinic``."""
    with clinic() as tablet:
        yield tablet


def test_a_sweep_grows_on_the_page_and_ends_as_on_the_device(place):
    for _ in range(3):  # a busy browser shows the live image first, and may have no time for the volume until the end
        grown = place.swept()
        if len(set(grown)) > 2:
            break
    assert len(set(grown)) > 2 and grown == sorted(grown), "the volume was seen to grow"
    assert place.js("return sonosweep.checked.same") is True
    assert place.js("return sonosweep.screen") == "review"
    assert "NOT CONFIRMED" in place.find(".turn").text


def test_a_known_distance_is_measured_within_two_percent(place):
    """The width of the image, by its edges as they are seen on the screen: nobody tells the page where they are."""
    if place.js("return sonosweep.screen") != "review":
        place.swept()
    place.js("document.querySelector('.of-measurement').open = true")
    place.find("[data-tool='distance']").click()
    touched = False
    for _ in range(5):  # a note that comes or goes moves the pane: look again
        place.steady()
        rect = place.js(f"{RECT}; return rect")
        x, y, width, height = (int(value) for value in rect)
        rows = place.picture()[y + height // 2 - 40 : y + height // 2 - 8, x + 2 : x + width - 2].mean(0)
        bright = np.flatnonzero(rows > 45)
        ends = [float(x + 2 + bright[0]), float(x + 3 + bright[-1])]
        if touched := place.js(TOUCHED_WHERE_IT_WAS_SEEN, rect, ends, float(y + height // 2 - 20)):
            break
    assert touched and width > 100
    measure = place.until("sonosweep.screens.review.tools.measures[0]")
    assert measure["unit"] == "mm" and measure["value"] == pytest.approx(COLUMNS * SPACING_MM, rel=0.02)
    assert 0.1 < measure["uncertainty"] < 5
    place.until("sonosweep.screens.library.sweeps.find((s) => s.id === sonosweep.screens.review.sweep.id).measures.length === 1")


def test_whose_a_sweep_is_may_be_said_until_it_is_kept(place):
    if place.js("return sonosweep.screen") != "review":
        place.swept()
    place.js("document.querySelector('.whose').open = true")
    field = place.js("return sonosweep.screens.review.exam.inputs.patient_id")
    field.send_keys("P-1", Keys.TAB)
    place.until("sonosweep.screens.library.find(sonosweep.screens.review.sweep.id).exam.patient_id === 'P-1'")
    assert place.js("return sonosweep.state.exam.patient_id === undefined"), "the next sweep's form is another"
    place.until("document.querySelector('.status-bar').innerText.includes('P-1')")


def test_saving_asks_for_the_direction_and_the_sweep_opens_again_after_a_reload(place):
    if place.js("return sonosweep.screen") != "review":
        place.swept()
    sweep = place.js("return sonosweep.screens.review.sweep.id")
    place.press("Save")
    place.until("document.querySelector('dialog.ask')")
    place.press("Direction is right")
    place.until("sonosweep.screens.library.find(sonosweep.screens.review.sweep.id).state === 'saved'")
    assert place.js(f"return sonosweep.screens.library.find('{sweep}').exam.patient_id") in ("P-1", None)
    assert not place.find(".whose").is_displayed()
    place.browser.refresh()
    place.until("globalThis.sonosweep && sonosweep.screens && sonosweep.state")
    place.press("Library")
    place.until("document.querySelector('.sweep.saved')")
    place.press("Open")
    place.until(f"sonosweep.screen === 'review' && sonosweep.source === '{sweep}' && sonosweep.checked")
    assert place.js("return sonosweep.checked.same") is True
    place.operates()


def test_what_is_reviewed_is_the_sweep_whose_name_stands_above(place):
    """Also after a new link, a look at the live image, and a sweep that somebody began in between."""
    reviewed = place.js("return sonosweep.screens.review.sweep.id")
    source = "(sonosweep.source === 'live' ? sonosweep.state.sweep && sonosweep.state.sweep.id : sonosweep.source)"
    shows = f"sonosweep.screen === 'review' && {source} === '{reviewed}' && sonosweep.checked && sonosweep.checked.same"
    place.until(shows)
    place.js("globalThis.old = sonosweep.link.socket; sonosweep.link.socket.close()")
    place.until("sonosweep.link.open && sonosweep.link.socket !== globalThis.old")
    place.until(shows)
    place.js("sonosweep.go('live')")
    place.until("sonosweep.source === 'live'")
    place.js("sonosweep.go('review')")
    place.until(shows)
    place.operates()
    place.begun(lambda: place.js("sonosweep.run('start', sonosweep.screens.live.exam.values)"))
    place.until("sonosweep.state.sweep.state === 'sweeping'")
    place.until(shows)
    assert place.js("return sonosweep.screens.review.sweep.id") == reviewed
    place.until("sonosweep.state.sweep.state === 'unsaved'")
    assert place.js("return sonosweep.screens.review.sweep.id") == reviewed and place.js(f"return {shows}")
    place.js("sonosweep.run('discard', { sweep: sonosweep.state.sweep.id })")


def test_a_frozen_image_keeps_its_scale_when_the_probe_changes_its_depth(place):
    place.js("sonosweep.go('live')")
    place.until("document.querySelector('.live-image').dataset.live === 'live'")
    place.js("sonosweep.run('freeze', { on: true })")
    place.until("document.querySelector('.live-image').dataset.live === 'frozen'")
    time.sleep(0.5)  # for the last image under way
    drawn, deeper = place.js(
        "const image = sonosweep.screens.live.image; const now = () => (image.draw(), image.canvas.toDataURL()); const before = now();"
        "image.update({ ...sonosweep.state.live, spacing_mm: [9, 9] }, true); return [before, now()]"
    )
    assert drawn == deeper
    place.js("sonosweep.run('freeze', { on: false })")


def test_a_lost_link_covers_the_image_and_comes_back(place):
    place.js("sonosweep.go('live')")
    place.until("document.querySelector('.live-image').dataset.live === 'live'")
    place.device.kill("tablet")
    place.until(covered("LINK LOST"), timeout_s=5)
    assert place.find(".live-cover").is_displayed()
    place.device.start("tablet")
    place.until("document.querySelector('.live-image').dataset.live === 'live'")
    place.press("Take over")
    place.operates()


def test_the_page_comes_back_by_itself_after_sleep_and_after_the_devices_restart(place):
    place.js("sonosweep.go('live')")
    place.until("document.querySelector('.live-image').dataset.live === 'live'")
    place.js("globalThis.old = sonosweep.link.socket; document.dispatchEvent(new Event('visibilitychange'))")
    place.until("sonosweep.link.open && sonosweep.link.socket !== globalThis.old")
    place.operates()
    for name in SERVICES:
        place.device.kill(name)
    place.until("document.querySelector('.live-image').dataset.live === 'stale'", timeout_s=5)
    for name in SERVICES:
        place.device.start(name)
    place.until("document.querySelector('.live-image').dataset.live === 'live'", timeout_s=60)
    place.press("Take over")
    place.operates()


def test_a_silent_probe_is_never_shown_as_live(place):
    place.js("sonosweep.go('live')")
    place.until("document.querySelector('.live-image').dataset.live === 'live'")
    place.probe.process.send_signal(19)  # SIGSTOP
    try:
        place.until(covered("NO IMAGES"), timeout_s=5)
        assert place.find(".start").get_attribute("disabled") is not None
    finally:
        place.probe.process.send_signal(18)
    place.until("document.querySelector('.live-image').dataset.live === 'live'")
    place.press("Freeze")
    place.until("document.querySelector('.live-image').dataset.live === 'frozen'")
    place.press("Unfreeze")
    place.until("document.querySelector('.live-image').dataset.live === 'live'")


@pytest.mark.parametrize("theme", ["dark", "bright"])
@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_serious_stands_in_the_way_of_anybody(place, screen, theme):
    if not place.js("return sonosweep.screens.review.sweep"):
        place.js("sonosweep.screens.review.sweep = null")
    place.js("document.documentElement.dataset.theme = arguments[0]; sonosweep.go(arguments[1])", theme, screen)
    time.sleep(0.3)
    place.js(importlib.resources.files("axe_core_python").joinpath("axe.min.js").read_text())
    found = place.browser.execute_async_script("axe.run(document, {resultTypes: ['violations']}).then(arguments[0])")
    serious = [
        (one["id"], [node["html"][:160] for node in one["nodes"]][:3])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert not serious
    small = place.js(
        "return [...document.querySelectorAll('button, select, input, a, summary')].filter((e) => e.offsetParent)"
        ".map((e) => [e.outerHTML.slice(0, 80), e.getBoundingClientRect().height]).filter(([, h]) => h < 44)"
    )
    assert not small
    if screen == "live":
        assert place.find(".start").rect["height"] >= 96


def test_the_canvas_gives_room_to_what_takes_it_from_its_pane(place):
    place.js("sonosweep.go('live')")
    edges = "return ['.stage', '.pane'].map((one) => Math.round(document.querySelector(one).getBoundingClientRect().bottom))"
    before = place.js(edges)
    place.js("document.querySelector('.actions').style.minHeight = '300px'")
    place.until(
        "Math.abs(document.querySelector('.stage').getBoundingClientRect().bottom - arguments[0]) > 50".replace(
            "arguments[0]", str(before[0])
        )
    )
    stage, pane = place.js(edges)
    place.js("document.querySelector('.actions').style.minHeight = ''")
    assert stage == pane < before[0]


def test_stop_is_red_and_the_bar_above_keeps_its_height_while_a_sweep_runs(place):
    look = "[getComputedStyle(document.querySelector('.start')).backgroundColor, document.querySelector('.status-bar').offsetHeight]"
    recording = "{...sonosweep.state, sweep: {state: 'sweeping', recording: 'recording', recorded_frames: 12345}}"
    place.js("sonosweep.go('live')")
    for theme in ("dark", "bright"):
        (start, height), (stop, with_rec) = place.js(
            "document.documentElement.dataset.theme = arguments[0]; document.body.classList.remove('sweeping');"
            f"sonosweep.status.update(sonosweep.state, true, 12); const before = {look};"
            f"document.body.classList.add('sweeping'); sonosweep.status.update({recording}, true, 12); const after = {look};"
            "document.body.classList.remove('sweeping'); return [before, after]",
            theme,
        )
        red, green, _ = (int(part) for part in stop[4:-1].split(","))
        assert stop != start and red > 2 * green
        assert with_rec == height


@pytest.mark.parametrize("size", SIZES)
def test_everything_fits_on_a_tablet(place, size):
    place.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    )
    for screen in SCREENS:
        place.js("sonosweep.go(arguments[0])", screen)
        time.sleep(0.2)
        assert place.js("return document.documentElement.scrollWidth") <= size[0]
        outside = place.js(
            "return [...document.querySelectorAll('nav button, .actions button, .status-bar button')].filter((e) => e.offsetParent)"
            ".filter((e) => { const b = e.getBoundingClientRect();"
            " return b.right > innerWidth + 1 || b.bottom > innerHeight + 1 || b.left < -1 })"
            ".map((e) => e.textContent)"
        )
        assert not outside, screen


def test_the_page_is_used_by_keyboard_alone(place):
    place.js("sonosweep.go('live'); document.activeElement.blur()")
    place.until("!document.querySelector('.start').disabled")
    wanted, reached = {"Exam", "Freeze", "START", "Library", "Settings", "scene"}, set()
    for _ in range(120):  # three times round: START is passed by while no image has come of late
        place.browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(place.js("return document.activeElement.textContent.trim() || document.activeElement.className"))
        if wanted <= reached:
            break
    assert wanted <= reached


def test_the_settings_say_how_the_device_is(place):
    place.js("sonosweep.go('settings')")
    place.until("document.querySelectorAll('.health dd').length >= 5")
    shown = place.find(".health").text
    assert "Sends images" in shown and "Ready" in shown and "GB free" in shown and "Clock" in shown
    trusted = place.js("return sonosweep.state.clock.trusted")
    assert trusted or "never set from a time source" in shown
    gone = "const { services, ...rest } = sonosweep.state; const screen = sonosweep.screens.settings;"
    gone += "screen.update({ ...rest, services: { ...services, run: 'gone' } });"
    gone += "return screen.health.querySelector('[data-level=bad]').textContent"
    assert "Does not answer" in place.js(gone)


def test_a_makers_own_preset_brings_its_words_along(place):
    told = place.browser.execute_async_script(
        "import('/page/js/screens/exam.js').then(({ ExamForm }) => {"
        "const preset = { name: 'knee', words: { en: 'The knee' }, body_part: 'knee', side: 'left', direction: '-' };"
        "const form = new ExamForm({ secure: true, presets: [preset], onchange() {} }); form.choose(0);"
        "arguments[0]([form.chips[0].textContent, form.inputs.body_part.value, form.inputs.side.value, form.values.direction]); })"
    )
    assert told == ["The knee", "The knee", "left", "-"]


def test_another_language_changes_every_word(place):
    place.js("localStorage.setItem('sonosweep', JSON.stringify({language: 'fr', theme: 'dark'}))")
    place.browser.refresh()
    place.until("globalThis.sonosweep && sonosweep.screens && sonosweep.state")
    place.until("document.querySelector('.start').textContent === 'DÉMARRER'")
    assert place.js("return document.documentElement.lang") == "fr"
    words = {button.text for button in place.browser.find_elements(By.TAG_NAME, "button") if button.is_displayed()}
    assert not words & {"Exam", "Freeze", "START", "Library", "Settings"}
