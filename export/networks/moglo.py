"""MoGLo-Net (Lee et al., IEEE TMI 2025) from its published facts, windowed as published and streaming with equal numbers.

Five frames make four neighbouring pairs; each pair is encoded, its patches are correlated, its local and global maps attend to
each other, and two LSTMs read the four pairs from an empty memory. Streaming keeps the map of the frame before and the features
of the three pairs before, so one new frame costs one frame's encoding and one pair instead of four pairs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.layers import ProbeNorm, Window, steady
from export.networks.moglo_parts import Attention, Block, PatchCorrelation, last_of_lstm

GRID = 16  # patches along a side: of the correlation and of the attention
PAIRS = 4  # of a window of five frames
OUTPUT_SCALE = (0.52, 0.24, 1.17, 0.0030, 0.0031, 0.0017)  # mm, rad; as our own network, so that both learn from the same numbers
State = dict[str, Tensor]


class MoGLo(nn.Module):
    """Frames [b, t, 1, size, size] (grey 0..255) to motions [b, t - 1, 6] (mm, rad) and log variances of the scaled outputs.

    ``width`` 1 is as published; ``size`` is 256 there and a multiple of 64, the maps' side ``size`` / 4 being cut in 16 patches.
    The published network has no uncertainty: six constants are learned beside it.
    """

    start_runs = PAIRS
    reset: tuple[str, ...] = ()
    timed = False
    output_scale: Tensor

    def __init__(self, width: float = 1.0, size: float = 192, output_scale: tuple[float, ...] = OUTPUT_SCALE) -> None:
        super().__init__()
        c = max(4, round(64 * width / 4) * 4)
        self.window, self.map_size, self.channels = Window(int(size), int(size)), int(size) // 4, c
        self.register_buffer("output_scale", torch.tensor(output_scale))
        self.stem = nn.Conv2d(1, c, 7, 2, 3)
        self.stem_norm = ProbeNorm(c)
        self.encoder_1 = nn.Sequential(nn.ReLU(), Block(c, c), Block(c, c), Block(c, c, down=True))
        self.correlation = PatchCorrelation(self.map_size, GRID)
        self.encoder_2 = nn.Sequential(Block(2 * c, 2 * c, visible=True), *(Block(2 * c, 2 * c) for _ in range(3)))
        self.encoder_3 = nn.Sequential(
            Block(2 * c, 4 * c, down=True, visible=True), *(Block(4 * c, 4 * c) for _ in range(4)), Block(4 * c, 4 * c, down=True)
        )
        self.encoder_4 = nn.Sequential(Block(4 * c + GRID * GRID, 8 * c, visible=True), Block(8 * c, 8 * c), Block(8 * c, 8 * c, down=True))
        self.attention = Attention(2 * c, 8 * c, GRID)
        self.lstm_local, self.lstm_global = (nn.LSTM(8 * c, 8 * c, batch_first=True) for _ in range(2))
        self.fc_local, self.fc_global = (nn.Linear(8 * c, 6) for _ in range(2))
        self.log_variance = nn.Parameter(torch.zeros(6))
        steady(self)

    def encode(self, frames: Tensor) -> Tensor:
        """[n, 1, size, size] (0..255) to [n, c, size / 4, size / 4]."""
        found: Tensor = self.encoder_1(self.stem_norm(self.stem(frames * (1 / 255))))
        return found

    def pair(self, before: Tensor, now: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of two neighbours to their local and global maps [n, 8 c, p, p] and attention scores [n, 256]."""
        matched = self.correlation(before, now)
        local = self.encoder_2(torch.cat([before, now], 1))
        deep = self.encoder_4(torch.cat([self.encoder_3(local), matched], 1))
        local, whole, scores = self.attention(local, functional.avg_pool2d(deep, 2))
        return local, whole, scores

    def features(self, before: Tensor, now: Tensor) -> Tensor:
        """What of a pair is remembered: the means of its local and its global map, [n, 16 c]."""
        local, whole, _ = self.pair(before, now)
        return torch.cat([local.mean((2, 3)), whole.mean((2, 3))], 1)

    def read(self, window: Tensor) -> Tensor:
        """Features of four pairs [n, 4, 16 c] to the scaled motion of the last, the mean of both heads, [n, 6]."""
        local, whole = window.chunk(2, 2)
        answers: Tensor = self.fc_local(last_of_lstm(self.lstm_local, local)) + self.fc_global(last_of_lstm(self.lstm_global, whole))
        return answers / 2

    def see(self, windows: Tensor) -> Tensor:
        """Windows [t, size, size] as frames [t, 1, size, size]."""
        return windows[:, None]

    def mirrored(self, seen: Tensor) -> Tensor:
        """The same frames with left and right exchanged."""
        return seen.flip(-1)

    def forward(self, seen: Tensor, intervals: Tensor, published: bool = False) -> Any:
        """See the class; ``intervals`` are not looked at. Equal to the windowed inference for every frame, each pair computed once.

        ``published``: what :meth:`heads` gives of windows of five frames, for the losses.
        """
        frames = seen.float()
        if published:
            return self.heads(frames)
        b, t = frames.shape[:2]
        maps = self.encode(frames.flatten(0, 1))
        maps = maps.reshape(b, t, *maps.shape[1:])
        before = maps[:, [0, *range(t - 1)]]
        features = self.features(before.flatten(0, 1), maps.flatten(0, 1)).reshape(b, t, -1)
        windows = torch.stack([features[:, [max(i - n, 0) for n in range(PAIRS - 1, -1, -1)]] for i in range(1, t)], 1)
        with torch.autocast(frames.device.type, enabled=False):
            scaled = self.read(windows.flatten(0, 1).float()).reshape(b, t - 1, 6)
            return scaled * self.output_scale, self.log_variance.expand(b, t - 1, 6)

    def heads(self, frames: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """One window as published, for its losses: frames [b, 5, 1, size, size] to the scaled motions of the local and the global
        head (each [b, 4, 6]), the embedding of the pairs [b, 4, 16 c, p, p] and their attention scores [b, 4, 256].
        """
        b, t = frames.shape[:2]
        local, whole, scores = self.pair(self.encode(frames[:, :-1].flatten(0, 1)), self.encode(frames[:, 1:].flatten(0, 1)))
        branches = (local, self.lstm_local, self.fc_local), (whole, self.lstm_global, self.fc_global)
        outputs = [fc(lstm(maps.mean((2, 3)).reshape(b, t - 1, -1))[0]) for maps, lstm, fc in branches]
        embedding = torch.cat([local, whole], 1)
        return outputs, embedding.reshape(b, t - 1, *embedding.shape[1:]), scores.reshape(b, t - 1, -1)

    def windowed(self, frames: Tensor) -> Tensor:
        """The published inference: a window of five frames for every motion, the first frame repeated before the start."""
        answers = []
        for i in range(1, frames.shape[1]):
            window = frames[:, [max(i - n, 0) for n in range(PAIRS, -1, -1)]]
            local, whole = self.heads(window)[0]
            answers.append((local[:, -1] + whole[:, -1]) / 2)
        return torch.stack(answers, 1) * self.output_scale

    def initial_state(self) -> State:
        """State of a step before any frame. ``ring``: features of the three pairs before, oldest first."""
        return {
            "previous": torch.zeros(1, self.channels, self.map_size, self.map_size),
            "ring": torch.zeros(1, PAIRS - 1, 16 * self.channels),
        }

    def step(self, frame: Tensor, interval: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Frame [1, 1, size, size] (0..255) and state to scaled motion [1, 6], its log variance [1, 6] and the new state."""
        now = self.encode(frame)
        window = torch.cat([state["ring"], self.features(state["previous"], now)[:, None]], 1)
        motion = self.read(window)
        return motion, self.log_variance + 0 * motion, {"previous": now, "ring": window[:, 1:]}
