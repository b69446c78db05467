"""Light of two wavelengths on the tablet page, in a real browser: the operator chooses which is shown, live and in review, by its nm."""

import time

import numpy as np
import pytest
from chromium import missing
from tablet_clinic import clinic

pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing() or "runs"), pytest.mark.timeout(300)]
VIEW = ".pane[data-view='3d']"


@pytest.fixture(scope="module")
def place():
    with clinic(wavelengths_nm=(750.0, 850.0), frames=200, spacing_mm=(0.3, 0.3)) as tablet:
        yield tablet


def chips(place, within):
    return place.js(
        "return [...document.querySelectorAll(arguments[0] + ' .light .chip')].map((one) => [one.textContent, one.ariaPressed])", within
    )


def seen(place, css):
    """How much of this element is coloured as light is: more red than blue."""
    place.until("!document.querySelector('.fault') && !sonosweep.scene.textures.busy")  # notes lie over the views
    time.sleep(1.0)
    x, y, width, height = (
        int(n)
        for n in place.js(
            "const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.x, b.y, b.width, b.height]", css
        )
    )
    part = place.picture("RGB")[y : y + height, x : x + width]
    return part, int((part[..., 0] - part[..., 2] > 150).sum())


def choose(place, within, words):
    for one in place.browser.find_elements("css selector", f"{within} .light .chip"):
        if one.text == words:
            place.js("arguments[0].scrollIntoView()", one)
            one.click()
            return
    raise AssertionError(f"no {words!r} in {chips(place, within)}")


def test_the_wavelength_shown_is_chosen_live_and_in_review(place):
    place.until("document.querySelectorAll('.live-image .light .chip').length === 3")
    assert chips(place, ".live-image") == [["750 nm", "true"], ["850 nm", "false"], ["No light", "false"]]
    choose(place, ".live-image", "850 nm")
    assert place.js("return sonosweep.screens.live.image.light.nm") == 850
    place.swept()
    assert chips(place, ".side") == [["750 nm", "false"], ["850 nm", "true"], ["No light", "false"]], "one choice for both"
    channels = dict((nm, channel) for channel, nm in place.js("return sonosweep.lights"))
    assert sorted(channels) == [750, 850] and sorted(channels.values()) == [1, 2]
    assert place.js("return sonosweep.shownLight.channel") == channels[850] and place.js("return sonosweep.checked.same") is True
    pictures = {}
    for words in ("850 nm", "750 nm", "No light"):
        choose(place, ".side", words)
        pictures[words], light = seen(place, VIEW)
        assert (light > 100) == (words != "No light"), (words, light)
    assert np.abs(pictures["850 nm"] - pictures["750 nm"]).max() > 40


def test_a_sweep_of_the_library_names_its_wavelengths_too(place):
    if place.js("return sonosweep.screen") != "review":
        place.swept()
    sweep = place.js("return sonosweep.screens.review.sweep.id")
    before = sorted(place.js("return sonosweep.lights"))
    place.js("sonosweep.go('library')")
    place.until("document.querySelector('.sweep')")
    place.press("Open")
    place.until(f"sonosweep.screen === 'review' && sonosweep.source === '{sweep}' && sonosweep.checked")
    assert sorted(place.js("return sonosweep.lights")) == before
    choose(place, ".side", "850 nm")
    assert seen(place, VIEW)[1] > 100
