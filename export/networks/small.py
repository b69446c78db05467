"""Our own motion network: what classical speckle tracking measures and what is learned, side by side, with a carried memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.correlation import Speckle, map_correlation, normalised
from export.networks.layers import Cell, ProbeNorm, Residual, Window, steady

SIZE = 192
CELLS = 24  # of the grid on which all evidence meets
MAP_SHIFTS = 2, 4  # of the learned map: 1.8 mm axially, 4.3 mm laterally
SPECKLE_SHIFTS = 3, 3  # of the image: 0.7 mm axially, 1.6 mm laterally
MAP_LAGS = 1, 3  # a scanner's persistence hides motion between neighbours; three frames apart it has faded
SPECKLE_LAGS = 1, 2
OUTPUT_SCALE = (0.52, 0.24, 1.17, 0.0030, 0.0031, 0.0017)  # mm, rad: about the size of a step
CHANNELS = {"stem": 16, "features": 32, "map": 16, "trunk": 64, "deep": 96, "narrow": 32, "hidden": 192}
State = dict[str, Tensor]


class Small(nn.Module):
    """Frames [b, t, 1, 192, 192] (grey 0..255) to motions [b, t - 1, 6] (mm, rad) and log variances of the scaled outputs.

    ``step`` does the same frame by frame with explicit state. The history before the first frame is the first frame.
    ``width`` multiplies all channels.
    """

    window = Window(SIZE, SIZE)
    start_runs = max(*MAP_LAGS, *SPECKLE_LAGS)
    reset = ("hidden", "cell")  # state that the runs of the start do not fill
    output_scale: Tensor

    def __init__(self, width: float = 1.0, output_scale: tuple[float, ...] = OUTPUT_SCALE) -> None:
        super().__init__()
        n = {name: max(4, round(count * width / 4) * 4) for name, count in CHANNELS.items()}
        self.register_buffer("output_scale", torch.tensor(output_scale))
        self.speckle = Speckle(SIZE, SIZE, CELLS, *SPECKLE_SHIFTS)
        self.stem = nn.Conv2d(1, n["stem"], 5, 2, 2, bias=False)
        self.stem_norm = ProbeNorm(n["stem"])
        self.encoder = nn.Sequential(nn.ReLU(), *_halve(n["stem"], n["features"]), Residual(n["features"]))
        self.to_map = nn.Conv2d(n["features"], n["map"], 1, bias=False)
        self.map_norm = ProbeNorm(n["map"])
        self.context = nn.Sequential(*_halve(n["features"], n["features"]))
        evidence = sum((2 * y + 1) * (2 * x + 1) * len(lags) for (y, x), lags in ((MAP_SHIFTS, MAP_LAGS), (SPECKLE_SHIFTS, SPECKLE_LAGS)))
        self.evidence_norm = ProbeNorm(evidence)
        self.trunk = nn.Sequential(
            nn.Conv2d(evidence + n["features"], n["trunk"], 1, bias=False),
            nn.BatchNorm2d(n["trunk"]),
            nn.ReLU(),
            Residual(n["trunk"]),
            Residual(n["trunk"]),
            *_halve(n["trunk"], n["deep"]),
            Residual(n["deep"]),
            *_halve(n["deep"], n["deep"]),
            Residual(n["deep"]),
            nn.Conv2d(n["deep"], n["narrow"], 1, bias=False),
        )
        self.trunk_norm = ProbeNorm(n["narrow"])
        # The grid of 6 x 6 stays until here: rotation out of the plane shows in how decorrelation varies over the image.
        self.gather = nn.Linear(n["narrow"] * (CELLS // 4) ** 2, n["hidden"])
        self.memory = Cell(n["hidden"], n["hidden"])
        self.head = nn.Linear(2 * n["hidden"], 12)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        steady(self)

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[n, 1, h, w] (0..255) to speckle [n, 1, h, w / 2], map [n, c, h / 4, w / 4] and context [n, c, 24, 24]."""
        grey = frames * (1 / 255)
        features = self.encoder(self.stem_norm(self.stem(grey)))
        with torch.autocast(frames.device.type, enabled=False):  # decorrelation is a small difference of large products
            speckle, maps = self.speckle(grey), normalised(self.map_norm(self.to_map(features.float())), 5, 1e-3)
        return speckle, maps, self.context(features)

    def compare(self, speckles: list[Tensor], maps: list[Tensor], context: Tensor) -> Tensor:
        """A frame (first in each list) beside those ``SPECKLE_LAGS`` and ``MAP_LAGS`` before it: [n, hidden]."""
        learned = [functional.avg_pool2d(map_correlation(maps[0], old, *MAP_SHIFTS), 4, 2, 1) for old in maps[1:]]
        with torch.autocast(context.device.type, enabled=False):
            classical = [self.speckle.correlation(speckles[0], old) for old in speckles[1:]]
        evidence = self.evidence_norm(torch.cat([*learned, *classical], 1))
        deep = self.trunk_norm(self.trunk(torch.cat([evidence, context], 1)))
        return torch.relu(self.gather(torch.relu(deep).flatten(1)))

    def answer(self, seen: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled motion and its log variance, each [n, 6]."""
        said = self.head(torch.cat([seen, hidden], 1))
        return said[:, :6], said[:, 6:].clamp(-10, 10)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        b, t = frames.shape[:2]
        speckle, maps, context = (x.reshape(b, t, *x.shape[1:]) for x in self.encode(frames.flatten(0, 1)))

        def lagged(x: Tensor, lag: int) -> Tensor:
            return x[:, [max(i - lag, 0) for i in range(1, t)]].flatten(0, 1)

        seen = self.compare(
            [lagged(speckle, lag) for lag in (0, *SPECKLE_LAGS)], [lagged(maps, lag) for lag in (0, *MAP_LAGS)], lagged(context, 0)
        ).reshape(b, t - 1, -1)
        with torch.autocast(frames.device.type, enabled=False):
            motion, log_variance = self.remember(seen.float())
        return motion * self.output_scale, log_variance

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
        """State of a step before any frame. ``speckle`` and ``maps`` hold what the last frames left, newest first."""
        maps = max(MAP_LAGS) * self.to_map.out_channels
        return {
            "speckle": torch.zeros(1, max(SPECKLE_LAGS), SIZE, SIZE // 2),
            "maps": torch.zeros(1, maps, SIZE // 4, SIZE // 4),
            "hidden": torch.zeros(1, self.memory.hidden),
            "cell": torch.zeros(1, self.memory.hidden),
        }

    def step(self, frame: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Frame [1, 1, h, w] (0..255) and state to scaled motion [1, 6], its log variance [1, 6] and the new state."""
        speckle, maps, context = self.encode(frame)
        c = maps.shape[1]
        old_speckle, old_maps = state["speckle"], state["maps"]
        seen = self.compare(
            [speckle, *(old_speckle[:, n - 1 : n] for n in SPECKLE_LAGS)],
            [maps, *(old_maps[:, (n - 1) * c : n * c] for n in MAP_LAGS)],
            context,
        )
        hidden, cell = self.memory(seen, state["hidden"], state["cell"])
        new = {
            "speckle": torch.cat([speckle, old_speckle[:, :-1]], 1),
            "maps": torch.cat([maps, old_maps[:, :-c]], 1),
            "hidden": hidden,
            "cell": cell,
        }
        return *self.answer(seen, hidden), new


def _halve(channels: int, to: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, to, 3, 2, 1, bias=False), nn.BatchNorm2d(to), nn.ReLU()]
