"""Light of two wavelengths on the tablet page, in a real browser: the operator chooses which is shown, live and in review, by its nm,
and in review the oxygen that both tell."""

import base64
import io

import numpy as np
import pytest
from chromium import missing
from PIL import Image
from tablet_clinic import clinic

from edge.files.volumes import read_volume
from edge.oxygenation import oxygen_saturation
from edge.vessel_picture import _blue_to_red

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
    place.steady()
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
    expected = [["750 nm", "false"], ["850 nm", "true"], ["Oxygen", "false"], ["No light", "false"]]
    assert chips(place, ".side") == expected, "one choice for both"
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


def test_oxygen_in_review_is_that_of_the_command_with_its_bar_caveat_and_wavelengths(place):
    """On the screen, under the crosshair, and in the picture that is exported."""
    place.browser.set_script_timeout(60)
    if place.js("return sonosweep.screen") != "review":
        place.swept()
    choose(place, ".side", "Oxygen")
    assert [words for words, pressed in chips(place, ".side") if pressed == "true"] == ["Oxygen"]
    place.until("sonosweep.scene.textures.oxygen && !sonosweep.scene.textures.busy")
    sweep = place.js("return sonosweep.screens.review.sweep.id")
    assert place.js("return sonosweep.volume.whole") is True
    volumes = [read_volume(path) for path in sorted(place.folder.rglob(f"{sweep}*nm.nrrd"))]
    found = oxygen_saturation(volumes)
    assert [volume.metadata["wavelength_nm"] for volume in volumes] == ["750", "850"] and (found.state > 0).sum() > 200

    random, known, none = np.random.default_rng(1), np.argwhere(found.state > 0), np.argwhere(found.state == 0)
    voxels = np.vstack([random.permutation(known)[:200], random.permutation(none)[:200]])
    points = (np.array(found.origin_mm) + found.spacing_mm * voxels[:, ::-1]).tolist()
    told = place.browser.execute_async_script(
        "const [points, done] = arguments; Promise.all(points.map((one) => sonosweep.volume.oxygen(one))).then(done)", points
    )
    k, j, i = voxels.T
    assert [one.get("state", 0) for one in told] == found.state[k, j, i].tolist()
    assert np.abs(np.array([one.get("percent", 0) for one in told]) - found.intensity[k, j, i]).max() <= 1

    panel = "return document.querySelector('.side .oxygen').innerText"
    for point, expected in ((points[0], f"{told[0].get('percent')} %"), (points[-1], "no value (")):
        place.js("sonosweep.scene.cross_mm = arguments[0]", point)
        place.until(f"document.querySelector('.side .oxygen .number').textContent.includes({expected!r})")
        assert expected.startswith(place.js("return sonosweep.scene.told"))
    unseen = place.js("return sonosweep.volume.bounds_mm.min")  # ultrasound begins before light
    for whole, expected in ((False, "still on its way"), (True, "not imaged at")):
        place.js("sonosweep.volume.whole = arguments[0]; sonosweep.scene.cross_mm = arguments[1]", whole, unseen)
        place.until(f"document.querySelector('.side .oxygen .number').textContent.includes({expected!r})")
    assert "750 nm, 850 nm" in place.js(panel) and "not for diagnosis" in place.js(panel) and "100 %" in place.js(panel)
    legend = place.js("return sonosweep.scene.view3d.legend")
    assert "750 nm, 850 nm" in legend["title"] and "not for diagnosis" in legend["text"] and legend["ticks"] == ["≤ 40 %", "70 %", "100 %"]

    def exported():
        png = place.browser.execute_async_script(
            """const done = arguments[0], reader = new FileReader();
            reader.onload = () => done(reader.result.split(",")[1]);
            sonosweep.scene.view3d.picture().then((blob) => reader.readAsDataURL(blob));"""
        )
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")).astype(int)

    def bar(picture):
        """Rows of the picture's foot that have the colours of a quarter and of three quarters of the bar."""
        wanted = 255 * _blue_to_red(np.array([0.25, 0.75])).clip(0, 1)
        return int((np.abs(picture[-len(picture) // 3 :, [70, 190]] - wanted).max((1, 2)) < 8).sum())

    def coloured(picture):
        """Pixels above the foot that are as colourful as blood."""
        return int((np.ptp(picture[: len(picture) // 2], axis=2) > 150).sum())

    with_legend = exported()
    assert bar(with_legend) >= 5 and coloured(with_legend) > 100
    assert (with_legend[-70:, :300].min(2) > 180).sum() > 300, "words"
    choose(place, ".side", "No light")
    assert place.js("return sonosweep.scene.view3d.legend") is None and place.js("return sonosweep.scene.told") == ""
    without = exported()
    assert bar(without) == 0 and coloured(without) < coloured(with_legend) / 10 and not place.find(".side .oxygen").is_displayed()
    choose(place, ".side", "Oxygen")
    place.js("sonosweep.go('live')")
    assert place.js("return [sonosweep.shownLight.oxygen, sonosweep.scene.view3d.legend, sonosweep.scene.textures.oxygen]") == [
        None,
        None,
        False,
    ]
    assert "Oxygen" not in [words for words, _ in chips(place, ".live-image")]
