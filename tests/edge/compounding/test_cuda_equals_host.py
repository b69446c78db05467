"""The GPU makes the host's bytes: whole sweeps on both, every answer compared. On a device, or on the driver of tests/fake_cuda."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from volume_cases import pose, sweep

import edge.benchmark.compounding as bench
from edge.benchmark.records import Plan
from edge.compounding import COMPOUNDINGS, VolumeFull, VolumeSettings, cuda, device, open_compounder

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("needs_cuda")]
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def fake_driver():
    """The driver of tests/fake_cuda with its doors for tests; skipped on a real one."""
    driver = ctypes.CDLL("libcuda.so.1")
    if not hasattr(driver, "fakecuda_blocks"):
        pytest.skip("a real driver cannot be asked for this; make fake-gpu-check")
    return driver


def both(chosen):
    return open_compounder("host", chosen), open_compounder("cuda", chosen)


def same(one, two):
    assert type(one) is type(two)
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a, b)


def masked(shape, seed):
    valid = np.random.default_rng(seed).random(shape) > 0.05
    return valid.astype(np.uint8)


def placed(volume, frames, plan, fill):
    """Every answer that a volume gives while ``frames`` go where ``plan`` says: (channel, masked, bridge)."""
    answers = []
    for n, ((pixels, matrix), (channel, mask, bridge)) in enumerate(zip(frames, plan, strict=True)):
        valid = masked(pixels.shape, n) if mask else None
        slots = volume.place(pixels, matrix, channel, valid, bridge)
        answers += [slots, *volume.bricks(slots, channel)]
    for channel in {channel for channel, _, _ in plan}:
        answers.append(volume.fill_holes(channel, *fill))
        answers += [volume.voxel_counts(channel), volume.slots(channel), *volume.bricks(volume.slots(channel), channel)]
        if volume.voxel_counts(channel).measured:
            dense = volume.dense(channel)
            answers += [dense.intensity, dense.state, dense.origin_mm]
    return answers


@few
@given(
    seed=st.integers(0, 2**32 - 1),
    compounding=st.sampled_from(COMPOUNDINGS),
    spacing_mm=st.sampled_from([0.25, 0.5, 0.9]),
    step_mm=st.sampled_from([0.1, 0.9, 1.7]),
    towards=st.integers(0, 2),
    plan=st.lists(st.tuples(st.sampled_from([0, 0, 1]), st.booleans(), st.booleans()), min_size=5, max_size=5),
    fill=st.tuples(st.integers(1, 3), st.sampled_from([0.3, 0.5, 0.8])),
)
def test_any_sweep_makes_the_same_bytes(seed, compounding, spacing_mm, step_mm, towards, plan, fill):
    frames = sweep(seed, count=5, step_mm=step_mm, towards=towards)
    host, cuda = both(VolumeSettings(spacing_mm=spacing_mm, compounding=compounding, max_gap_mm=3))
    with host, cuda:
        same(placed(host, frames, plan, fill), placed(cuda, frames, plan, fill))
        for volume in (host, cuda):
            volume.reset()
        same(placed(host, frames[::-1], plan, fill), placed(cuda, frames[::-1], plan, fill))


@pytest.mark.parametrize("shape", [(2, 2), (3, 700), (480, 640)])
def test_images_of_any_size_make_the_same_bytes(shape):
    host, cuda = both(VolumeSettings(max_gap_mm=3))
    plan = [(0, True, True), (0, False, True)] * 2
    with host, cuda:
        frames = sweep(3, count=4, step_mm=1.3, shape=shape)
        same(placed(host, frames, plan, (1, 0.4)), placed(cuda, frames, plan, (1, 0.4)))


def test_remapped_images_are_the_same():
    random = np.random.default_rng(4)
    pixels, shape = random.integers(0, 256, (61, 90), dtype=np.uint8), (77, 301)
    index = random.integers(-1, 60 * 90 - 2, shape, dtype=np.int32)
    fractions = [random.integers(0, 256, shape, dtype=np.uint8) for _ in range(2)]
    host, cuda = both(VolumeSettings())
    with host, cuda:
        same([host.image(pixels, look_up=(index, *fractions))], [np.asarray(cuda.image(pixels, look_up=(index, *fractions)))])


def test_a_volume_of_several_pool_chunks_is_the_same():
    host, cuda = both(VolumeSettings(spacing_mm=0.2))
    pixels = np.random.default_rng(5).integers(0, 256, (400, 500), dtype=np.uint8)
    with host, cuda:
        for n in range(6):
            matrix = pose((0.3, 0.2, 0.1), (0, 0, 1.8 * n), (0.2, 0.2))
            same([host.place(pixels, matrix)], [cuda.place(pixels, matrix)])
        assert cuda.brick_count() > device.CHUNK_BRICKS
        for start in range(0, host.brick_count(), 3000):
            slots = host.slots()[start : start + 3000]
            same(host.bricks(slots), cuda.bricks(slots))


def test_a_refused_frame_leaves_both_alike():
    host, cuda = both(VolumeSettings(memory_limit_mib=1))
    pixels = np.full((16, 24), 90, np.uint8)
    with host, cuda:
        for volume in (host, cuda):
            with pytest.raises(VolumeFull):
                for n in range(1000):
                    volume.place(pixels, pose(origin_mm=(0, 0, 1.2 * n)), bridge=True)
            volume.place(pixels, pose(origin_mm=(0, 0, 0.5)), bridge=True)
        same(host.bricks(host.slots()), cuda.bricks(cuda.slots()))


def test_a_volume_may_change_threads_between_calls():
    frames = sweep(6, step_mm=1.6)
    host, cuda = both(VolumeSettings(max_gap_mm=3))
    with host:
        for number, (pixels, matrix) in enumerate(frames):
            host.place(pixels, matrix, bridge=True)
            thread = threading.Thread(target=cuda.place, args=(pixels, matrix), kwargs={"bridge": True}, name=f"frame {number}")
            thread.start()
            thread.join()
        same(host.bricks(host.slots()), cuda.bricks(cuda.slots()))
        closing = threading.Thread(target=cuda.close)
        closing.start()
        closing.join()


def test_closed_and_forgotten_volumes_leave_nothing_on_the_device(fake_driver):
    before = fake_driver.fakecuda_blocks()
    for forget in (False, True):
        cuda = open_compounder("cuda", VolumeSettings())
        placed(cuda, sweep(7, step_mm=1.6), [(0, True, True)] * 6, (2, 0.5))
        assert fake_driver.fakecuda_blocks() > before
        if not forget:
            cuda.close()
        del cuda
        assert fake_driver.fakecuda_blocks() == before


def test_a_device_without_memory_is_a_full_volume(fake_driver):
    (pixels, matrix), (other, elsewhere) = sweep(8, count=2)
    with open_compounder("cuda", VolumeSettings()) as cuda:
        cuda.place(pixels, matrix)
        before = cuda.bricks(cuda.slots())
        fake_driver.fakecuda_set_memory(ctypes.c_size_t(1 << 24))
        try:
            with pytest.raises(VolumeFull, match="no memory"):
                cuda.place(other, elsewhere, channel=1)
        finally:
            fake_driver.fakecuda_set_memory(ctypes.c_size_t(1 << 30))
        same(before, cuda.bricks(cuda.slots()))
        assert len(cuda.place(other, elsewhere, channel=1))


def test_a_missing_wait_would_be_noticed(fake_driver, monkeypatch):
    pixels, matrix = sweep(9, count=1)[0]
    host, cuda = both(VolumeSettings())
    with host, cuda, monkeypatch.context() as patched:
        patched.setattr(device.Gpu, "wait", lambda gpu: None)
        slots = host.place(pixels, matrix)
        cuda.place(pixels, matrix)
        assert not np.array_equal(host.bricks(slots).intensity, cuda.bricks(slots).intensity)


def test_a_device_that_fails_is_named(fake_driver):
    with open_compounder("cuda", VolumeSettings()) as cuda:
        gpu = cuda._gpu
        with pytest.raises(device.DeviceFailed, match="start the program again"), gpu.current():
            gpu.launch("pair_image", 1, 0, 1, 16, 1, 1, 0, 16)
            gpu.wait()
        fake_driver.fakecuda_recover()


def test_the_device_says_how_fast_its_memory_copies():
    assert cuda.copy_gb_per_s(1, runs=2) > 0
    record = next(
        bench.mean(Plan(quick=True, backend="cuda", frames=4, image_size=(64, 48), spacings_mm=(1.0,), seconds=0.01, least_runs=1))
    )
    assert record["backend"] == "cuda" and record["bandwidth_share"] == pytest.approx(record["moved_gb_per_s"] / record["copy_gb_per_s"])
