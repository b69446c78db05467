"""The page where the device says things in an unlucky order: links that die, volumes of others, changes that meet each other."""

import time

import pytest
from chromium import missing
from scripted_page import listed, scripted_page, sweep

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "runs")


@pytest.fixture(scope="module")
def browser():
    with scripted_page() as page:
        yield page


@pytest.fixture
def page(browser):
    yield browser
    assert browser.js("return errors") == [], "an error that nobody caught"


def reviewing(page, name, **listing):
    """The page shows ``name`` of the library, whole."""
    page.open([listed(name, **listing)])
    page.js("sonosweep.openSweep(sonosweep.screens.library.find(arguments[0]))", name)
    page.epoch(name, 1)
    page.until("sonosweep.screen === 'review'")
    page.said("open")


def test_a_live_volume_is_a_sweeps_only_where_its_epoch_is(page):
    page.open([])
    page.epoch("live", 70)
    page.state(sweep=sweep("anna", 70))
    page.js("sonosweep.go('review')")
    page.state(sweep=sweep("anna", 70))
    assert page.said("open") == [] and page.js("return sonosweep.screens.review.sweep.id") == "anna"
    page.epoch("live", 71)
    page.state(sweep=sweep("anna", 70))
    page.until("device.said.some((one) => one.do === 'open')")
    assert [one["sweep"] for one in page.said("open")] == ["anna"]


MEASURE = {"kind": "note", "points_mm": [[1, 2, 3]], "value": 0, "unit": "", "uncertainty": 0, "text": "here"}


def pressed(page, words):
    """The button of the review that says so, as a click."""
    buttons = "[...document.querySelectorAll('.side button')]"
    found = page.js(f"const one = {buttons}.find((b) => b.textContent === arguments[0]); one?.click(); return !!one", words)
    assert found, words


def seen(page):
    return page.js("return getComputedStyle(document.querySelector('.stage canvas')).visibility") == "visible"


def test_the_volume_of_another_sweep_is_neither_shown_nor_measured_under_the_reviewed_ones_name(page):
    reviewing(page, "anna", measures=[MEASURE])
    assert seen(page)
    page.js("device.silent.add('open')")
    page.js("const { tools } = sonosweep.screens.review; tools.choose('distance'); tools.points = [[0, 0, 0], [1, 0, 0]]")
    page.epoch("live", 70)
    assert not seen(page), "at once, before any state"
    assert page.js("return getComputedStyle(document.querySelector('.oxygen')).visibility") == "hidden", "nor its saturation"
    page.state(sweep=sweep("berta", 70))
    assert not seen(page) and page.js("return sonosweep.screens.review.tools.points") == []
    page.until("sonosweep.screens.review.loading.checkVisibility()")
    for words in ("Volume in box (20 mm)", "Finish", "Undo", "Volume of outlines", "Picture (PNG)", "Turntable (MP4)", "✕"):
        page.js("document.querySelector('.snack').hidden = true")
        pressed(page, words)
        page.until("!document.querySelector('.snack').hidden")
        assert "not yet" in page.js("return document.querySelector('.snack').innerText"), words
    assert page.said("measures") == page.said("upload") == []
    page.epoch("anna", 2)
    assert seen(page)
    pressed(page, "✕")
    page.until("device.said.some((one) => one.do === 'measures')")


def test_the_live_view_does_not_show_a_sweep_of_the_library_while_it_waits_for_its_own(page):
    reviewing(page, "anna")
    page.js("device.silent.add('open'); sonosweep.go('live')")
    assert not seen(page)
    page.epoch("live", 0)
    assert seen(page)


def test_a_link_that_has_fallen_silent_is_lost_and_one_that_speaks_is_not(page):
    page.open([])
    time.sleep(4)
    assert page.js("return [sonosweep.link.open, device.sockets]") == [True, 1], "pings are answered"
    page.js("device.dead = true")
    page.until("device.sockets >= 2", 6)
    page.until("sonosweep.link.open")


def typed(page, screen, name):
    """Somebody writes a name into the form and leaves the field."""
    page.js(
        "const { patient_name: field } = sonosweep.screens[arguments[0]].exam.inputs; field.value = arguments[1];"
        " field.dispatchEvent(new Event('change'))",
        screen,
        name,
    )


def back(page, **state):
    """The link comes back, with the device as it was."""
    page.js("device.back()")
    page.until("sonosweep.link.open")
    page.epoch("live", 0)
    page.state(**state)


def test_a_patient_who_is_typed_while_the_link_is_lost_reaches_the_device(page):
    page.open([], exam={"patient_name": "anna"})
    name = "sonosweep.screens.live.exam.inputs.patient_name.value"
    page.until(f"{name} === 'anna'")
    page.js("device.silent.add('exam')")
    typed(page, "live", "berta")
    page.js("device.lose()")
    page.until("!sonosweep.link.open && !sonosweep.screens.live.exam.told.sending")
    page.said("exam")
    page.js("device.silent.delete('exam'); sonosweep.update(); device.back()")
    page.until("sonosweep.link.open")
    page.js("sonosweep.update()")
    assert page.said("exam") == [], "what the device knows of us is not yet told"
    back(page, exam={"patient_name": "anna"}, operator=None)
    assert page.js(f"return {name}") == "berta" and page.said("exam") == [], "nobody operates"
    page.state(exam={"patient_name": "anna"})
    page.until("device.said.some((one) => one.do === 'exam')")
    assert [one["exam"] for one in page.said("exam")] == [{"patient_name": "berta"}]
    page.until("!sonosweep.screens.live.exam.told.sending")
    page.state(exam={"patient_name": "carla"})
    assert page.js(f"return {name}") == "carla" and page.said("exam") == []


def test_a_form_that_another_tablet_fills_by_now_is_not_overwritten(page):
    page.open([], exam={"patient_name": "anna"})
    page.js("device.lose()")
    typed(page, "live", "berta")
    back(page, exam={"patient_name": "carla"}, operator={"name": "other", "me": False})
    assert page.js("return sonosweep.screens.live.exam.inputs.patient_name.value") == "carla"
    page.state(exam={"patient_name": "carla"})
    assert page.said("exam") == []


def test_a_correction_that_was_lost_goes_to_the_sweep_that_it_was_of(page):
    reviewing(page, "anna")
    page.js("device.lose()")
    typed(page, "review", "anna b")
    page.until("!sonosweep.screens.review.exam.told.sending")
    page.js("device.back()")
    page.until("sonosweep.link.open")
    page.library(listed("anna"), listed("berta"))
    page.js("sonosweep.openSweep(sonosweep.screens.library.find('berta'))")
    page.epoch("berta", 2)
    page.until("sonosweep.screens.review.sweep.id === 'berta'")
    page.state()
    page.until("device.said.some((one) => one.do === 'exam')")
    assert [(one["sweep"], one["exam"]["patient_name"]) for one in page.said("exam")] == [("anna", "anna b")]
    page.until("sonosweep.screens.review.exam.inputs.patient_name.value === 'berta'")


def texts(page):
    return page.js("return sonosweep.screens.review.tools.measures.map((one) => one.text)")


def note(text):
    return MEASURE | {"text": text}


def test_what_is_measured_on_another_tablet_or_thrown_away_with_a_mirrored_volume_is_what_the_device_says(page):
    reviewing(page, "anna", measures=[note("one")])
    page.library(listed("anna", measures=[note("one"), note("of the other tablet")]))
    assert texts(page) == ["one", "of the other tablet"] and "of the other tablet" in page.js(
        "return document.querySelector('.measures').textContent"
    )
    page.js("const { tools } = sonosweep.screens.review; tools.choose('distance'); tools.points = [[0, 0, 0]]")
    page.library(listed("anna"))
    assert page.js("return sonosweep.screens.review.tools.points.length") == 1 and len(texts(page)) == 2, "somebody is at it"
    page.js("sonosweep.screens.review.tools.undo()")
    page.library(listed("anna"))
    assert texts(page) == []


def test_what_was_just_measured_is_not_taken_back_by_an_older_list_and_outlives_the_link(page):
    reviewing(page, "anna")
    page.js("device.silent.add('measures'); sonosweep.screens.review.tools.add(arguments[0])", note("mine"))
    page.library(listed("anna"))
    assert texts(page) == ["mine"], "the device has not answered yet"
    page.js("device.lose(); device.silent.delete('measures'); device.said = []")
    assert not page.js("return sonosweep.link.open")
    page.js("device.back()")
    page.until("sonosweep.link.open")
    page.library(listed("anna"))
    assert texts(page) == ["mine"]
    page.state()
    page.until("device.said.some((one) => one.do === 'measures')")
    assert [one["measures"][0]["text"] for one in page.said("measures")] == ["mine"]
    page.until("!sonosweep.screens.review.kept.waits")
    page.library(listed("anna", measures=[note("mine"), note("more")]))
    assert texts(page) == ["mine", "more"]


def test_what_was_just_measured_stays_until_the_list_of_it_comes(page):
    reviewing(page, "anna")
    page.js("sonosweep.screens.review.tools.add(arguments[0])", note("mine"))
    page.until("!sonosweep.screens.review.kept.waits")
    page.state()
    assert texts(page) == ["mine"]
    page.js("sonosweep.screens.review.tools.add(arguments[0])", note("too"))
    assert [one["text"] for one in page.said("measures")[-1]["measures"]] == ["mine", "too"]


def test_what_the_device_refuses_to_keep_does_not_stay(page):
    reviewing(page, "anna")
    page.js("device.answers.measures = { ok: false, error: 'NO_OPERATOR_LEASE', text: '' }; device.said = []")
    page.js("sonosweep.screens.review.tools.add(arguments[0])", note("mine"))
    page.until("device.said.some((one) => one.do === 'list')")
    page.library(listed("anna"))
    assert texts(page) == []


def test_while_a_volume_is_built_again_nothing_measured_in_the_one_before_lies_over_it(page):
    old = [note("of the mirror image")]
    reviewing(page, "anna", measures=old)
    page.epoch("live", 70)
    for state in ("rebuilding", "saving"):
        page.state(sweep=sweep("anna", 70, state=state))
        assert texts(page) == []
        page.library(listed("anna", measures=old))
        assert texts(page) == [], state
    page.state(sweep=sweep("anna", 70))
    assert texts(page) == [], "the list that is here is that of before"
    page.library(listed("anna"))
    assert texts(page) == []


def test_a_review_that_is_opened_before_the_list_is_here_does_not_wipe_what_was_measured(page):
    page.open()
    page.epoch("live", 70)
    page.state(sweep=sweep("anna", 70))
    page.js("sonosweep.go('review')")
    pressed(page, "Volume in box (20 mm)")
    page.until("!document.querySelector('.snack').hidden")
    assert page.said("measures") == []
    page.library(listed("anna", measures=[note("kept")]))
    assert texts(page) == ["kept"]


NOTE = {"name": "FRAMES_BRIDGED", "service": "run", "detail": "3", "age_s": 1.0, "effect": "note"}
BREAK = {"name": "FRAMES_LOST", "service": "run", "detail": "30", "age_s": 1.0, "effect": "break"}
PLACES = "[...document.querySelectorAll('.pane, .live-image, button')].filter((one) => one.checkVisibility()).map((one) => {"
PLACES += " const { x, y, width, height } = one.getBoundingClientRect(); return [x, y, width, height]; })"


@pytest.mark.parametrize("hand", ["right", "left"])
@pytest.mark.parametrize("size", [(1180, 820), (820, 1180)])
def test_a_note_moves_nothing_lies_on_no_button_and_stops_no_finger(page, size, hand):
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    reviewing(page, "anna")
    page.js("document.body.dataset.hand = arguments[0]; sonosweep.layout()", hand)
    for screen in ("review", "live", "library", "settings"):
        page.js("sonosweep.go(arguments[0])", screen)
        page.state(sweep=sweep("berta", 70, state="sweeping") if screen == "live" else None)
        before = page.js(f"return {PLACES}")
        page.state(sweep=sweep("berta", 70, state="sweeping") if screen == "live" else None, faults=[NOTE, NOTE | {"name": "POSE_HELD"}])
        page.until("document.querySelectorAll('.fault').length === 2")
        assert page.js(f"return {PLACES}") == before, screen
        boxes = "[...document.querySelectorAll('.fault')].map((one) => one.getBoundingClientRect())"
        for x, y, right, bottom in page.js(f"return {boxes}.map((b) => [b.x, b.y, b.right, b.bottom])"):
            assert right - x > 200 and x >= 0 and right <= size[0] and bottom <= size[1] and y >= 0
            assert not page.js("return document.elementFromPoint(...arguments).closest('.fault')", (x + right) / 2, (y + bottom) / 2)
            if screen in ("live", "review"):
                buttons = page.js(f"return {PLACES.replace('.pane, .live-image, ', '')}")
                assert not [b for b in buttons if b[0] < right and x < b[0] + b[2] and b[1] < bottom and y < b[1] + b[3]], screen
        page.state()
    page.state(faults=[BREAK])
    banner = page.until("document.querySelector('.fault') && document.querySelector('.fault').getBoundingClientRect().width")
    assert banner == size[0], "what ended a sweep stays a banner"


def test_the_last_patients_volume_is_not_seen_under_the_next_ones_name(page):
    page.open([])
    page.epoch("live", 70)
    page.state(sweep=sweep("anna", 70), exam={"patient_name": "anna"})
    assert seen(page) and not page.js("return sonosweep.screens.live.other.offsetParent")
    page.state(sweep=sweep("anna", 70), exam={"patient_name": "berta"})
    assert not seen(page) and page.js("return sonosweep.screens.live.other.offsetParent !== null")
    page.state(sweep=sweep("anna", 70) | {"id": "berta", "state": "sweeping", "exam": {}}, exam={"patient_name": "berta"})
    assert seen(page)
