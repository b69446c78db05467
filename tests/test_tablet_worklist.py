"""The clinic's worklist on the exam form, in a real browser: who is expected is tapped, and the sweep's DICOM files carry the order."""

import time

import pydicom
import pytest
from chromium import missing
from selenium.webdriver.common.keys import Keys
from tablet_clinic import clinic
from worklist_server import expected, worklist_server

from edge.config import DicomConfig

pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing() or "runs"), pytest.mark.timeout(300)]
UID = "1.2.826.0.1.3680043.8.498.77"
LINES = (
    expected("0930", "Thyroid", PatientName="Diallo^Awa", PatientID="P-7", PatientBirthDate="19810405", PatientSex="F",
             AccessionNumber="A-12", StudyInstanceUID=UID),
    expected("1015", "Carotid left", PatientName="Núñez^José", PatientID="P-8", AccessionNumber="A-13"),
    expected("1100", "", PatientName=""),
)  # fmt: skip


@pytest.fixture(scope="module")
def place():
    with worklist_server(*LINES) as server:
        dicom = DicomConfig(
            worklist_host="127.0.0.1", worklist_port=server.port, timeout_s=3, mechanical_index=0.5, thermal_index=0.2, focus_mm=15
        )
        with clinic(dicom=dicom, frames=60) as tablet:
            tablet.worklist = server
            yield tablet


def form(place):
    return place.js("return sonosweep.screens.live.exam.values.exam")


def opened(place):
    place.js("sonosweep.go('live'); sonosweep.screens.live.openForm(true)")
    place.until("!sonosweep.screens.live.exam.ask.disabled")
    place.press("Worklist")
    place.until("document.querySelector('dialog[open]')")
    return place.find("dialog[open]").text


def test_an_entry_of_the_worklist_becomes_the_exam_and_the_files_of_its_sweep(place):
    place.js("sonosweep.screens.live.exam.inputs.notes.value = 'of somebody else'")
    shown = opened(place)
    assert all(words in shown for words in ("Diallo, Awa · P-7", "09:30 – Thyroid", "A-12", "April 5, 1981", "10:15 – Carotid left"))
    assert "could not be read: 1." in shown
    today = place.js("const now = new Date(); return [now.getFullYear(), now.getMonth() + 1, now.getDate()]")
    assert place.worklist.asked[-1].ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate == "{:04}{:02}{:02}".format(*today)
    place.find("dialog[open] .choice").click()
    order = {
        "patient_name": "Diallo, Awa",
        "patient_id": "P-7",
        "birth_date": "1981-04-05",
        "sex": "F",
        "accession": "A-12",
        "study_uid": UID,
    }
    place.until("sonosweep.state.exam.study_uid")  # before, an older state may stand in the form
    assert form(place) == order
    place.until("document.querySelector('.status-bar').innerText.includes('Diallo')")
    assert "Diallo, Awa · P-7" in place.find(".status-bar").text and place.js("return !sonosweep.screens.live.exam.linked.hidden")
    place.swept()
    sweep = place.js("return sonosweep.screens.review.sweep.id")
    place.press("Save")
    place.press("Direction is right")
    place.until(f"sonosweep.screens.library.find('{sweep}').state === 'saved'")
    assert place.js(f"return sonosweep.screens.library.find('{sweep}').exam") == order
    place.js("sonosweep.screens.review.export('dcm')")
    place.until(f"sonosweep.screens.library.find('{sweep}').files.some((one) => one.name.endsWith('.dcm'))")
    files = [pydicom.dcmread(path) for path in (place.folder / "sweeps").glob("*.dcm")]
    assert len(files) >= 2, "volume and clip"
    for ds in files:
        told = (ds.StudyInstanceUID, ds.PatientID, str(ds.PatientName), ds.AccessionNumber, ds.PatientBirthDate, ds.PatientSex)
        assert told == (UID, "P-7", "Diallo^Awa", "A-12", "19810405", "F")


def test_who_changes_the_patient_by_hand_leaves_the_order(place):
    opened(place)
    place.find("dialog[open] .choice").click()
    field = place.js("return sonosweep.screens.live.exam.inputs.patient_id")
    field.clear()
    field.send_keys("P-99", Keys.TAB)
    assert "study_uid" not in form(place) and form(place)["patient_id"] == "P-99"
    place.until("sonosweep.state.exam.patient_id === 'P-99' && !sonosweep.state.exam.study_uid")


def test_the_next_patient_is_not_put_on_a_sweep_that_runs_without_asking(place):
    opened(place)
    place.js("const { exam } = sonosweep.screens.live; exam.sweeping = true; exam.update = () => {}")  # as while one runs
    place.browser.find_elements("css selector", "dialog[open] .choice")[1].click()
    place.until("document.querySelector('dialog[open]') && document.querySelector('dialog[open]').textContent.includes('is running')")
    before = form(place)
    place.press("Cancel")
    assert form(place) == before
    place.until("document.querySelector('dialog') === null")
    place.js("delete sonosweep.screens.live.exam.update")


def test_a_worklist_that_refuses_or_is_gone_is_said_by_name(place):
    for status, words in ((0xA900, "The worklist refuses the question"), (None, "The worklist does not answer")):
        if status is None:
            place.worklist.stop()
        else:
            place.worklist.status = status
        place.js("sonosweep.go('live'); sonosweep.screens.live.openForm(true)")
        place.until("!sonosweep.screens.live.exam.ask.disabled")
        place.press("Worklist")
        place.until(f"document.querySelector('.snack').textContent.startsWith('{words}')")
        time.sleep(0.3)
        place.until("sonosweep.screens.live.exam.ask.textContent === 'Worklist'")
