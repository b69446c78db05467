"""Our own motion network: speckle correlation measured as physics has it, what it means learned, with a carried memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.networks.evidence import BANDS, CELLS, CHANNELS, LATEST, Evidence, mirrored
from export.networks.layers import MIRROR, Cell, ProbeNorm, Residual, Window, steady

SIZE = 192
OUTPUT_SCALE = (0.52, 0.24, 1.17, 0.0030, 0.0031, 0.0017)  # mm, rad: about the size of a step
WIDTHS = {"wide": 128, "trunk": 96, "narrow": 32, "hidden": 256, "scanner": 64}
BELT = 4  # depths at which evidence is averaged to tell what scanner this is
LONGEST_MEAN = 200.0  # frames: after that, what the scanner is said to be follows the newer ones
LEAST = 0.02  # confidence in a patch: all in shadow is no division by nothing
EIGHT_BIT = 85.0  # evidence is kept for training as int8: steps of 1/85, range -1.5 to 1.5
MOST = 10.0  # times the usual interval
State = dict[str, Tensor]


def bases() -> Tensor:
    """[6, CELLS * CELLS]: how values over the patches are summed up: their mean, lateral and axial slope, twist, and both bends."""
    at = (torch.arange(CELLS) - (CELLS - 1) / 2) / ((CELLS - 1) / 2)
    v, u = torch.meshgrid(at, at, indexing="ij")
    level = float((at * at).mean())
    shapes = [torch.ones_like(u), 1.5 * u, 1.5 * v, 2 * u * v, 2 * (u * u - level), 2 * (v * v - level)]
    return torch.stack(shapes).flatten(1)


class Small(nn.Module):
    """Frames to motions [b, t - 1, 6] (mm, rad) and log variances of the scaled outputs.

    What is learned sees :class:`Evidence` of each frame and of the one before, patch by patch; it undoes persistence and says of each
    patch how it moved and how sure that is. Means over the patches, and how what they say slopes and bends across the image, go to
    the memory: a probe that turns moves the patches unlike. How much motion the same decorrelation means depends on the scanner's
    persistence, noise and beam: what the frames so far say of these is averaged over the sweep, and scales the patches' channels.
    Trained, it answers from the mean of what it says of the images and of their mirror image, so that a mirrored sweep has the mirrored
    path exactly; evidence is measured once for both.
    ``width`` multiplies all channels.
    """

    window = Window(SIZE, SIZE)
    start_runs = LATEST + 1  # of the first frame: until the evidence before it is of that frame alone too
    timed = True  # a step takes the time since the frame before
    reset = ("hidden", "cell", "scanner", "count")  # state that the runs of the start do not fill
    output_scale: Tensor
    bases: Tensor
    mirror: Tensor

    def __init__(self, width: float = 1.0, output_scale: tuple[float, ...] = OUTPUT_SCALE) -> None:
        super().__init__()
        n = {name: max(4, round(count * width / 4) * 4) for name, count in WIDTHS.items()}
        self.register_buffer("output_scale", torch.tensor(output_scale))
        self.evidence = Evidence(SIZE, SIZE)
        self.evidence_norm = ProbeNorm(CHANNELS)
        self.of_now = nn.Conv2d(CHANNELS, n["wide"], 1)
        self.of_before = nn.Conv2d(CHANNELS, n["wide"], 1, bias=False)
        self.place = nn.Parameter(torch.zeros(n["wide"], CELLS, CELLS))  # depth changes what decorrelation means
        self.tells = nn.Sequential(nn.Linear(CHANNELS * BELT, n["trunk"]), nn.Tanh(), nn.Linear(n["trunk"], n["scanner"]), nn.Tanh())
        self.by_scanner = nn.Linear(n["scanner"], 2 * n["wide"])
        self.trunk = nn.Sequential(
            nn.BatchNorm2d(n["wide"]),
            nn.ReLU(),
            nn.Conv2d(n["wide"], n["trunk"], 1, bias=False),
            nn.BatchNorm2d(n["trunk"]),
            nn.ReLU(),
            nn.Conv2d(n["trunk"], n["trunk"], 1, bias=False),
            nn.BatchNorm2d(n["trunk"]),
            nn.ReLU(),
            Residual(n["trunk"]),
        )
        self.says = nn.Conv2d(n["trunk"], n["narrow"], 1, bias=False)
        self.says_norm = ProbeNorm(n["narrow"])
        self.sure = nn.Conv2d(n["trunk"], n["narrow"], 1)
        self.register_buffer("bases", bases(), persistent=False)
        self.register_buffer("mirror", torch.tensor(MIRROR), persistent=False)
        self.gather = nn.Sequential(nn.Linear(n["narrow"] * len(self.bases) + 1 + n["scanner"], n["hidden"]), nn.ReLU(), nn.Dropout(0.1))
        self.memory = Cell(n["hidden"], n["hidden"])
        self.head = nn.Linear(2 * n["hidden"], 12)
        nn.init.normal_(self.head.weight, std=0.01)
        for zero in (self.head.bias, self.by_scanner.weight, self.by_scanner.bias):
            nn.init.zeros_(zero)
        steady(self)

    @torch.no_grad()
    def see(self, windows: Tensor) -> Tensor:
        """All windows [t, h, w] (0..255) of one sweep as what training keeps of them, int8 [t, CHANNELS, CELLS, CELLS]."""
        return (self.evidence(windows.float()) * EIGHT_BIT).round().clamp(-127, 127).to(torch.int8)

    def mirrored(self, seen: Tensor) -> Tensor:
        """What :meth:`see` gives of the same windows with left and right exchanged."""
        return mirrored(seen)

    def forward(self, seen: Tensor, intervals: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`see` of sequences, [b, t, CHANNELS, CELLS, CELLS] (or the evidence itself, not rounded), and the time before each
        frame but the first over the usual one, [b, t - 1]."""
        evidence = seen / EIGHT_BIT if seen.dtype == torch.int8 else seen
        if self.training:
            motion, log_variance = self.follow(evidence, intervals)
        else:
            motion, log_variance = self.agreed(*self.follow(both_sides(evidence), torch.cat([intervals, intervals])))
        return motion * self.output_scale, log_variance

    def follow(self, evidence: Tensor, intervals: Tensor) -> tuple[Tensor, Tensor]:
        """Evidence of sequences and intervals as they are: scaled motion and log variance, each [b, t - 1, 6]."""
        b, t = evidence.shape[:2]
        now, before, told = self.look(evidence.flatten(0, 1))
        now, before, told = (x.reshape(b, t, *x.shape[1:]) for x in (now, before, told))
        with torch.autocast(evidence.device.type, enabled=False):
            scanner = averages(told[:, 1:].float())
        both = (now[:, 1:] + before[:, :-1]).flatten(0, 1)
        found = self.understand(both, intervals.reshape(-1, 1), scanner.flatten(0, 1)).reshape(b, t - 1, -1)
        with torch.autocast(evidence.device.type, enabled=False):
            return self.remember(found.float())

    def agreed(self, motion: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of both sides' answers [2 n, ..., 6], the second half those of the mirror images: [n, ..., 6] each."""
        ours, theirs = motion.chunk(2)
        return (ours + theirs * self.mirror) / 2, sum(log_variance.chunk(2)) / 2

    def look(self, evidence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Evidence [n, CHANNELS, CELLS, CELLS] as part of its own frame's motion and of the next one's, [n, wide, CELLS, CELLS] each,
        and what it tells of the scanner [n, scanner]."""
        normal = self.evidence_norm(evidence)
        belts = normal.reshape(len(normal), CHANNELS, BELT, -1).mean(3).flatten(1)
        return self.of_now(normal) + self.place, self.of_before(normal), self.tells(belts)

    def understand(self, both: Tensor, intervals: Tensor, scanner: Tensor) -> Tensor:
        """The sum of both parts, intervals [n, 1] and what is known of the scanner [n, scanner]: [n, hidden]."""
        more, shift = self.by_scanner(scanner)[:, :, None, None].chunk(2, 1)
        patches = self.trunk(both * (1 + more) + shift)
        said, sure = self.says_norm(self.says(patches)).flatten(2), torch.sigmoid(self.sure(patches)).flatten(2)
        with torch.autocast(both.device.type, enabled=False):
            weight = sure.float() + LEAST
            moments = (said.float() * weight) @ self.bases.T / weight.sum(2, keepdim=True)
            since = torch.log(intervals.clamp(1 / MOST, MOST))
            found: Tensor = self.gather(torch.cat([moments.flatten(1), since, scanner], 1))
        return found

    def answer(self, seen: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled motion and its log variance, each [n, 6]."""
        said = self.head(torch.cat([seen, hidden], 1))
        return said[:, :6], said[:, 6:].clamp(-10, 10)

    def remember(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled motion and log variance, each [b, steps, 6], of what was seen [b, steps, hidden], from an empty memory."""
        hidden = cell = seen.new_zeros(len(seen), self.memory.hidden)
        answers = []
        for now in seen.unbind(1):
            hidden, cell = self.memory(now, hidden, cell)
            answers.append(self.answer(now, hidden))
        motion, log_variance = zip(*answers, strict=True)
        return torch.stack(motion, 1), torch.stack(log_variance, 1)

    def initial_state(self) -> State:
        """State of a step before any frame. ``band0`` and ``band1`` hold the last frames, newest first; the others [2, ...] have one row
        for the images and one for their mirror images."""
        bands = {f"band{i}": torch.zeros(1, max(band.lags), SIZE // band.pixels[0], SIZE // band.pixels[1]) for i, band in enumerate(BANDS)}
        return {
            **bands,
            "before": torch.zeros(2, self.of_before.out_channels, CELLS, CELLS),
            "hidden": torch.zeros(2, self.memory.hidden),
            "cell": torch.zeros(2, self.memory.hidden),
            "scanner": torch.zeros(2, self.by_scanner.in_features),
            "count": torch.zeros(1, 1),
        }

    def step(self, frame: Tensor, interval: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Frame [1, 1, h, w] (0..255), interval [1, 1] and state to scaled motion [1, 6], its log variance [1, 6] and the new state."""
        images, measures = self.evidence.bands(frame[:, 0])
        kept = [state[f"band{i}"] for i in range(len(BANDS))]
        before = [old.index_select(1, torch.tensor(band.lags) - 1) for band, old in zip(BANDS, kept, strict=True)]
        now, for_next, told = self.look(both_sides(self.evidence.compare(images, before, measures)))
        count = (state["count"] + 1).clamp(max=LONGEST_MEAN)
        scanner = state["scanner"] + (told - state["scanner"]) / count
        seen = self.understand(now + state["before"], torch.cat([interval, interval]), scanner)
        hidden, cell = self.memory(seen, state["hidden"], state["cell"])
        bands = {f"band{i}": torch.cat([image[:, None], old[:, :-1]], 1) for i, (image, old) in enumerate(zip(images, kept, strict=True))}
        memory = {"hidden": hidden, "cell": cell, "scanner": scanner, "count": count}
        return *self.agreed(*self.answer(seen, hidden)), {**bands, "before": for_next, **memory}


def both_sides(evidence: Tensor) -> Tensor:
    """[n, ...] to [2 n, ...]: as it is, then with left and right exchanged."""
    return torch.cat([evidence, mirrored(evidence)])


def averages(told: Tensor) -> Tensor:
    """[b, steps, n]: of each step, the mean over the steps so far; over :data:`LONGEST_MEAN` and fewer of before as in a step."""
    if told.shape[1] <= LONGEST_MEAN:
        return told.cumsum(1) / torch.arange(1, told.shape[1] + 1, device=told.device)[:, None]
    mean, means = torch.zeros_like(told[:, 0]), []
    for i, one in enumerate(told.unbind(1)):
        mean = mean + (one - mean) / min(i + 1, LONGEST_MEAN)
        means.append(mean)
    return torch.stack(means, 1)
