"""The page where the device says things in an unlucky order: links that die, volumes of others, changes that meet each other."""

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
