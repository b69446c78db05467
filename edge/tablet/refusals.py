"""What the gateway refuses, in one table: the name, the HTTP status, and the sentence that the person at the tablet reads."""

from __future__ import annotations

from typing import NamedTuple

from edge.errors import SonosweepError


class Refusal(NamedTuple):
    """One way to be refused."""

    status: int
    text: str


REFUSALS = {
    "MALFORMED": Refusal(400, "The device did not understand the message. Load the page again."),
    "BAD_NAME": Refusal(400, "This name cannot be used for a file. Use letters without accents, digits, dots and dashes."),
    "WRONG_TYPE": Refusal(400, "This kind of content is not taken here. Send JSON, or for a picture PNG, MP4 or WebM."),
    "NO_LENGTH": Refusal(400, "The message does not say how long it is, or is compressed. Load the page again."),
    "NOT_PAIRED": Refusal(401, "This tablet is not paired with the device. Open pairing on the device, then scan its code."),
    "PAIRING_CLOSED": Refusal(403, "Pairing is closed. Open it on the device; it stays open for two minutes."),
    "WRONG_CODE": Refusal(403, "The code is wrong. Read it again on the device; after five wrong ones pairing closes."),
    "NOT_OPERATOR": Refusal(403, "This tablet may only look. Pair it again as an operator."),
    "WRONG_HOST": Refusal(403, "The device is not known by this address. Use the address that the device shows."),
    "WRONG_ORIGIN": Refusal(403, "Another page tried to use the device. Open the device's own page."),
    "NOT_FOUND": Refusal(404, "There is nothing at this address. Open the device's own page."),
    "NO_CERTIFICATES": Refusal(404, "This device works without certificates ([tablet] secure = false), so there is none to trust."),
    "NOT_KEPT": Refusal(409, "The device could not keep this on its disk. Free some space, then try again."),
    "UNKNOWN_COMMAND": Refusal(400, "The device does not know this command. Load the page again."),
    "NO_OPERATOR_LEASE": Refusal(403, "Another tablet operates the device. Take over first."),
    "SERVICE_GONE": Refusal(409, "A part of the device does not answer and is being restarted. Try again in a few seconds."),
    "SWEEP_RUNS": Refusal(409, "A sweep runs. Stop it first."),
    "NO_SWEEP": Refusal(409, "No sweep runs. Start one first."),
    "PROBE_DECIDES": Refusal(409, "On this device the probe's own button starts and stops a sweep. Use that."),
    "NO_IMAGES": Refusal(409, "The probe sends no images. Check the probe and its cable, then start again."),
    "NO_SUCH_SWEEP": Refusal(404, "This sweep is not in the library any more. Load the list again."),
    "WRONG_STATE": Refusal(409, "This cannot be done with the sweep as it is now. Load the list again."),
    "STILL_WRITING": Refusal(409, "A volume is still being written. Wait until that is done, then try again."),
    "DIRECTION_UNCONFIRMED": Refusal(409, "Confirm the sweep direction first: a wrong one gives a mirror image."),
    "DIRECTION_TRACKED": Refusal(409, "This sweep was placed by a tracker, which knows the direction."),
    "REBUILD_FAILED": Refusal(409, "The volume could not be rebuilt. What was saved before stays; try again."),
    "UNREADABLE": Refusal(409, "The sweep's files cannot be read. The recording was not touched."),
    "SWITCHED_OFF": Refusal(403, "The maker of this device has switched this off; the device's handbook says what it offers."),
    "CLOCK_FROM_NETWORK": Refusal(409, "The network sets the device's clock. It need not be set by hand."),
    "CLOCK_NOT_SET": Refusal(409, "The device's clock could not be set. Check this tablet's own date, then try again."),
    "WORKLIST_OVER_HTTP": Refusal(409, "The worklist names patients and is told over https only. Open the page by its https address."),
    "DICOM_MISSING": Refusal(409, "The device lacks its DICOM libraries. Whoever looks after it installs the extra dicom."),
    "WORKLIST_MISSING": Refusal(409, "No worklist is set up on this device, or not rightly. Have [dicom] worklist_host set."),
    "WORKLIST_ASKED": Refusal(409, "The worklist is being asked already. Wait for its answer."),
    "WORKLIST_UNREACHABLE": Refusal(409, "The worklist does not answer. Type the patient in, or try again when the network is back."),
    "WORKLIST_REFUSED": Refusal(409, "The worklist refuses the question. Type the patient in; the device's log says why."),
    "TOO_LARGE": Refusal(413, "This is larger than the device takes. Send a smaller picture or a shorter clip."),
    "TOO_MANY": Refusal(429, "Too many tries in a short time. Wait a minute, then try again."),
}


class Refused(SonosweepError):
    """The gateway refuses what was asked; ``name`` stands in the table. ``detail`` is for the audit log and is not sent."""

    def __init__(self, name: str, detail: str = "") -> None:
        self.name = name
        self.status, self.text = REFUSALS[name]
        self.detail = detail
        super().__init__(f"{self.text} ({detail})" if detail else self.text)
