"""A frame crosses to the GPU once: converted, resampled, given to the network and placed there, with the answers of the CPU.

Through the real pycuda on the driver of tests/fake_cuda, whose device memory the fake TensorRT can read.
"""

from __future__ import annotations

import ctypes
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.benchmark.speckle_sweep import as_frames, poses, speckle
from edge.compounding import VolumeSettings, open_compounder
from edge.compounding.image import DeviceImage, grey_table
from edge.compounding.native import pointer
from edge.compounding.scan_conversion import ScanTable, Sector
from edge.messages import Bricks, Geometry, Pose
from edge.motion.decorrelation import DecorrelationMotion
from edge.motion.recorded import RecordedMotion
from edge.motion.resample import Resampler
from edge.reconstructor import Reconstructor

FRAMES = as_frames(speckle(8, (320, 240)), poses(8, (320, 240)))
SETTINGS = VolumeSettings(spacing_mm=0.5, max_gap_mm=3)
CONVEX = Geometry(
    kind="convex", width=64, height=90, spacing_mm=(0.5, 0.5), radius_start_mm=20, radius_stop_mm=60, angle_start_deg=-30, angle_stop_deg=30
)


@pytest.fixture
def driver():
    """The fake driver with its doors for tests; skipped on a real one."""
    library = ctypes.CDLL("libcuda.so.1")
    if not hasattr(library, "fakecuda_sent"):
        pytest.skip("a real driver cannot be asked for this; make fake-gpu-check")
    library.fakecuda_sent.restype = ctypes.c_size_t
    return library


@pytest.fixture(params=[False, True], ids=["discrete", "integrated"])
def integrated(request, driver):
    """Both kinds of GPU."""
    driver.fakecuda_set_integrated(request.param)
    yield request.param
    driver.fakecuda_set_integrated(False)


@pytest.fixture
def networks(driver, monkeypatch):
    """The tiny network on the fake TensorRT and on the CPU."""
    pytest.importorskip("onnx", reason="onnx is not installed: the tiny network is made with it (pip install 'sonosweep[export]')")
    from fake_tensorrt import Fake
    from tiny_network import card_json, step_graph

    import edge.motion.ort as ort
    import edge.motion.trt as trt
    from edge.motion.card import parse_card
    from edge.motion.network import NetworkMotion
    from edge.motion.stepper import Stepper

    fake = Fake()
    fake.depth, fake.stream = 1, None
    fake.ask = lambda work: (driver.cuCtxSynchronize(), work())
    monkeypatch.setitem(sys.modules, "tensorrt", fake.tensorrt)
    card, graph = parse_card(card_json(), "card.json"), step_graph().SerializeToString()
    return {
        "trt": lambda: NetworkMotion("tiny", "trt fp16", card, trt.Engine(card, graph).stepper()),
        "ort": lambda: NetworkMotion("tiny", "ort fp32", card, Stepper(card, ort.Runner(graph))),
    }


def reconstructed(backend, motion, frames):
    """What a sweep says, and its bricks at the end."""
    with open_compounder(backend, SETTINGS) as volume:
        reconstructor = Reconstructor(motion, volume, direction="+")
        said = [message for frame in frames for message in reconstructor.feed(frame)]
        places = [message.image_to_reference for message in said if isinstance(message, Pose)]
        changed = [message.intensity for message in said if isinstance(message, Bricks)]
        return places, changed, *volume.bricks(volume.slots())


def same(one, two):
    (places, changed, *bricks), (places_two, changed_two, *bricks_two) = one, two
    assert places == places_two and len(places) == len(FRAMES)
    assert all(np.array_equal(a, b) for a, b in zip([*changed, *bricks], [*changed_two, *bricks_two], strict=True))


@pytest.mark.gpu
@pytest.mark.usefixtures("needs_cuda")
class TestOnTheDevice:
    def test_network_and_volume_say_there_what_they_say_on_the_cpu(self, networks, integrated):
        expected = reconstructed("host", networks["ort"](), FRAMES)
        same(reconstructed("cuda", networks["trt"](), FRAMES), expected)
        same(reconstructed("cuda", networks["ort"](), FRAMES), expected)
        same(reconstructed("host", networks["trt"](), FRAMES), expected)

    def test_a_frame_crosses_once_and_not_at_all_where_memory_is_shared(self, networks, integrated, driver):
        with open_compounder("cuda", SETTINGS) as volume:
            reconstructor = Reconstructor(networks["trt"](), volume, direction="+")
            for frame in FRAMES[:4]:
                reconstructor.feed(frame)
            before = driver.fakecuda_sent()
            for frame in FRAMES[4:]:
                reconstructor.feed(frame)
            for_tasks = (driver.fakecuda_sent() - before) / 4 - (0 if integrated else FRAMES[0].pixels.nbytes)
            assert 0 < for_tasks < 0.4 * FRAMES[0].pixels.nbytes

    @pytest.mark.parametrize("motion", [RecordedMotion, DecorrelationMotion])
    def test_deep_and_convex_frames_become_the_same_images(self, motion, integrated):
        deep = [msgspec.structs.replace(f, pixels=f.pixels.astype(np.uint16) * 7, sample_range=(90.0, 1500.0)) for f in FRAMES]
        beams = [msgspec.structs.replace(f, pixels=f.pixels[:90, :64].copy(), geometry=CONVEX) for f in FRAMES]
        for frames in (deep, beams):
            same(reconstructed("cuda", motion(), frames), reconstructed("host", motion(), frames))

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        shape=st.tuples(st.integers(2, 70), st.integers(2, 70)),
        window=st.tuples(st.integers(2, 40), st.integers(2, 40)),
        spacing=st.tuples(*[st.floats(0.05, 1.2)] * 4),
        seed=st.integers(0, 99),
    )
    def test_windows_are_numpys_to_the_bit(self, shape, window, spacing, seed):
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        resample = Resampler(*window, spacing[:2])
        with open_compounder("cuda", SETTINGS) as volume:
            there = resample(volume.image(pixels), spacing[2:])
            assert isinstance(there, DeviceImage) and there.nbytes == 4 * window[0] * window[1]
            assert np.array_equal(np.asarray(there), resample(pixels, spacing[2:]))

    def test_a_forgotten_images_place_is_the_next_ones(self, driver):
        with open_compounder("cuda", SETTINGS) as volume:
            kept = [volume.image(frame.pixels) for frame in FRAMES]
            blocks = driver.fakecuda_blocks()
            assert all(np.array_equal(image, frame.pixels) for image, frame in zip(kept, FRAMES, strict=True))
            del kept
            for frame in FRAMES:
                volume.image(frame.pixels)
            assert driver.fakecuda_blocks() == blocks

    def test_a_look_up_that_may_change_is_sent_each_time_and_one_that_may_not_once(self, driver):
        table = ScanTable(Sector(64, 90, 20, 60, -30, 30), 0.5)
        beams, own = FRAMES[0].pixels[:90, :64].copy(), [array.copy() for array in table.look_up]
        with open_compounder("cuda", SETTINGS) as volume:
            first = np.asarray(volume.image(beams, look_up=table.look_up))
            before = driver.fakecuda_sent()
            assert np.array_equal(volume.image(beams, look_up=table.look_up), first)
            assert driver.fakecuda_sent() - before == beams.nbytes
            for _ in range(20):  # more than are kept
                assert np.array_equal(volume.image(beams, look_up=tuple(own)), first)
            own[0][:] = -1
            assert not np.asarray(volume.image(beams, look_up=tuple(own))).any()


@pytest.mark.parametrize(("kind", "black", "white"), [("uint8", 10, 200), ("uint16", 0, 65535), ("uint16", 300, 1500)])
def test_grey_is_the_rounded_line_between_black_and_white(kind, black, white):
    samples = np.random.default_rng(2).integers(0, np.iinfo(kind).max + 1, (40, 70), dtype=kind)
    expected = np.clip(np.rint((samples.astype(np.float32) - np.float32(black)) * np.float32(255 / (white - black))), 0, 255)
    with open_compounder("host", SETTINGS) as volume:
        assert np.array_equal(volume.image(samples, (black, white)), expected)


def test_grey_samples_are_left_as_they_are():
    assert grey_table("uint8", 0.0, 255.0) is None
    with open_compounder("host", SETTINGS) as volume:
        assert volume.image(FRAMES[0].pixels) is FRAMES[0].pixels


@pytest.mark.parametrize(("spacing", "threads"), [((0.2, 0.2), 1), ((0.1, 0.13), 2), ((0.7, 0.5), 2)])
def test_the_kernel_of_windows_is_numpys_to_the_bit_on_the_host_too(spacing, threads):
    resample, out = Resampler(64, 48, (0.4, 0.35)), np.empty((48, 64), np.float32)
    expected = resample(FRAMES[0].pixels, spacing)
    lateral, axial = resample._stacked
    with open_compounder("host", SETTINGS, threads) as volume:
        down = (len(axial[0]), pointer(axial[0]), pointer(axial[1]))
        across = (len(lateral[0]), pointer(lateral[0]), pointer(lateral[1]))
        pixels = FRAMES[0].pixels
        volume._library.sono_resample(volume._open(), 64, 48, pointer(pixels), pixels.shape[1], *across, *down, pointer(out))
    assert np.array_equal(out, expected)
