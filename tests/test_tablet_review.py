"""The review screen in a real browser: every tool, pictures, films, files, the trash; with a photoacoustic sweep."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from chromium import missing
from selenium.webdriver.common.keys import Keys
from tablet_clinic import clinic

pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing() or "runs"), pytest.mark.timeout(300)]
TAPS = (
    "const [plane, places] = arguments;"
    "const b = document.querySelector(`.pane[data-view=${plane}]`).getBoundingClientRect();"
    "for (const [across, down] of places) document.querySelector('.overlay').dispatchEvent(new PointerEvent('pointerdown',"
    " {clientX: b.x + across * b.width, clientY: b.y + down * b.height, bubbles: true, cancelable: true}))"
)
SQUARE = [(0.4, 0.3), (0.6, 0.3), (0.6, 0.6), (0.4, 0.6)]
TOOLS = "sonosweep.screens.review.tools"


@pytest.fixture(scope="module")
def place():
    """A clinic with a photoacoustic probe, after its first sweep."""
    with clinic(photoacoustic=True) as tablet:
        tablet.js("sonosweep.go('live')")
        tablet.until("document.querySelector('.live-image').dataset.live === 'live'")
        tablet.tinted = live_colours(tablet)
        tablet.swept()
        tablet.js("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        yield tablet


def live_colours(tablet):
    """Of the live image as it is drawn: how much redder than blue its reddest pixel becomes while a sweep is played."""
    tablet.js(
        "sonosweep.go('live'); globalThis.most = 0; globalThis.look = setInterval(() => {"
        " const c = document.querySelector('.live-canvas');"
        " const p = c.getContext('2d').getImageData(60, 20, c.width - 160, c.height - 40).data;"
        " for (let i = 0; i < p.length; i += 4) most = Math.max(most, p[i] - p[i + 2]) }, 150)"
    )
    return lambda: tablet.js("clearInterval(globalThis.look); return globalThis.most")


def choose(place, kind):
    place.find(f"[data-tool='{kind}']").click()


def points(place, plane, *places):
    """Tap there, shares of the pane; all at once, because a note that comes or goes moves the panes."""
    measures = place.js(f"return {TOOLS}.measures.length")
    place.js(TAPS, plane, places)
    place.until(f"{TOOLS}.points.length === {len(places)} || {TOOLS}.measures.length > {measures}")


def polygon_mm2(points):
    """Of points in a plane."""
    first, *rest = (np.array(point) for point in points)
    return float(np.linalg.norm(sum(np.cross(a - first, b - first) for a, b in itertools.pairwise(rest)))) / 2


def newest(place):
    return place.js(f"return {TOOLS}.measures.at(-1)")


def kept(place, count):
    place.until(f"sonosweep.screens.library.find(sonosweep.screens.review.sweep.id).measures.length === {count}")


def test_both_channels_come_in_their_colours(place):
    assert place.tinted() > 60, "the photoacoustic image lies over the live one in orange"
    assert place.js("return sonosweep.checked.same") is True
    assert place.js("return sonosweep.scene.textures.photoacoustic") is True


def test_area_and_angle_are_those_of_the_points(place):
    plane = "lateral-axial"
    choose(place, "area")
    points(place, plane, *SQUARE)
    place.press("Finish")
    measure = newest(place)
    assert measure["unit"] == "mm2"
    assert measure["value"] == pytest.approx(polygon_mm2(measure["points_mm"]), rel=1e-6)
    choose(place, "angle")
    points(place, plane, (0.4, 0.3), (0.4, 0.6), (0.6, 0.6))
    angle = newest(place)
    assert (angle["unit"], round(angle["value"])) == ("deg", 90) and angle["uncertainty"] > 0
    kept(place, 2)


def test_a_volume_is_stacked_from_outlines(place):
    plane = "lateral-axial"
    choose(place, "outline")
    outlines = []
    for step in range(3):
        points(place, plane, *SQUARE)
        place.press("Finish")
        outlines.append(place.js(f"return {TOOLS}.outlines.at(-1)"))
        if step < 2:
            place.js("const s = sonosweep.scene; s.cross_mm = s.cross_mm.map((mm, axis) => axis === 2 ? mm + 1 : mm)")
    place.press("Volume of outlines")
    measure = newest(place)
    slabs = sum(map(polygon_mm2, outlines)) / 1000  # each 1 mm thick
    assert measure["unit"] == "ml" and measure["value"] == pytest.approx(slabs, rel=1e-3)


def test_a_volume_is_counted_by_a_threshold(place):
    before = len(place.js(f"return {TOOLS}.measures"))
    place.press("Volume in box (20 mm)")
    place.until(f"{TOOLS}.measures.length === {before + 1}")
    measure = newest(place)
    assert 0 < measure["value"] < 8 and measure["threshold"] == 60
    assert sum(measure["by_state"].values() if isinstance(measure["by_state"], dict) else measure["by_state"]) > 0


def test_a_note_asks_for_its_words_and_is_kept(place):
    choose(place, "note")
    place.js(TAPS, "lateral-axial", [(0.5, 0.5)])
    place.until("document.querySelector('dialog.ask input')")
    place.find("dialog.ask input").send_keys("plaque?", Keys.ENTER)
    place.until(f"{TOOLS}.measures.at(-1).kind === 'note'")
    assert newest(place)["text"] == "plaque?"
    choose(place, "note")
    place.until("document.querySelector('.measures').innerText.includes('plaque?')")


def test_figures_follow_the_view_and_fade_off_their_slice(place):
    line = "[...document.querySelectorAll('.overlay .measure-line')].map((l) => l.getAttribute('points')).join('|')"
    before = place.js(f"return {line}")
    place.js("sonosweep.scene.view3d.drag(80, 30)")
    place.until(f"{line} !== '{before}'")
    place.js("const s = sonosweep.scene; s.cross_mm = s.cross_mm.map((mm, axis) => axis === 2 ? mm - 9 : mm)")
    place.until("document.querySelector('.overlay .away')")


def test_what_was_measured_can_be_taken_back(place):
    before = len(place.js(f"return {TOOLS}.measures"))
    place.press("Undo")
    assert len(place.js(f"return {TOOLS}.measures")) == before - 1
    place.until(f"document.querySelectorAll('.measures button').length === {before - 1}")
    place.js("document.querySelector('.measures button').click()")
    assert len(place.js(f"return {TOOLS}.measures")) == before - 2
    kept(place, before - 2)


def test_pictures_films_and_files_are_written_beside_the_sweep(place):
    def files():
        return place.js("return sonosweep.screens.library.find(sonosweep.screens.review.sweep.id).files.map((f) => f.name ?? f)")

    place.press("Picture (PNG)")
    place.until("JSON.stringify(sonosweep.screens.library.find(sonosweep.screens.review.sweep.id).files).includes('.png')")
    place.press("nii.gz")
    place.until("JSON.stringify(sonosweep.screens.library.find(sonosweep.screens.review.sweep.id).files).includes('.nii.gz')")
    place.press("Turntable (MP4)")
    place.until(
        "/turntable[.](mp4|webm)/.test(JSON.stringify(sonosweep.screens.library.find(sonosweep.screens.review.sweep.id).files))", 60
    )
    names = files()
    folder = place.device.config.record.folder
    film = next(Path(folder).glob("*turntable.*"))
    assert film.stat().st_size > 5_000
    start = film.read_bytes()[:12]
    assert start[4:8] == b"ftyp" or start[:4] == b"\x1a\x45\xdf\xa3"
    assert len(names) >= 5


def test_a_preset_chooses_how_the_volume_is_shown(place):
    for preset, mode in (("Thyroid", "alpha"), ("Vessel", "mip")):
        place.js("sonosweep.go('live')")
        if not place.find(".drawer").is_displayed():
            place.press("Exam")
        place.operates()
        shown = f"sonosweep.scene.view3d.mode === '{mode}' && sonosweep.screens.review.mode.value === '{mode}'"
        place.again(lambda preset=preset: place.press(preset), shown)
    place.press("Exam")


def test_a_discarded_sweep_comes_back(place):
    place.js("sonosweep.go('review')")
    sweep = place.js("return sonosweep.screens.review.sweep.id")
    place.press("Discard")
    undo = "!document.querySelector('.snack').hidden && document.querySelector('.snack button')"
    place.until(f"{undo} && (clearTimeout(sonosweep.snackTimer), true)")  # it would go after 10 s
    place.until(f"sonosweep.screens.library.find('{sweep}').state === 'discarded'")
    assert place.js("return sonosweep.screen") == "live"
    place.press("Undo")
    place.until(f"sonosweep.screens.library.find('{sweep}').state === 'unsaved'")
