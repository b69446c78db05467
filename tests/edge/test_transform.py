"""Transforms refuse to be mis-multiplied and compose as PLUS and TUS-REC say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.transform import (
    BadTransform,
    CoordinateMismatch,
    Transform,
    first_image_to_reference,
    image_to_center,
    image_to_face,
    interpolated,
    motion,
    motion_parameters,
)

small = st.floats(-1.5, 1.5)
six = st.lists(small, min_size=6, max_size=6)


def test_transforms_that_do_not_meet_are_refused_by_name():
    image_to_probe, probe_to_reference = Transform.named("ImageToProbe", np.eye(4)), Transform.named("ProbeToReference", np.eye(4))
    assert (probe_to_reference @ image_to_probe).name == "ImageToReference"
    with pytest.raises(CoordinateMismatch, match="ImageToProbe @ ProbeToReference: Image is not Reference"):
        image_to_probe @ probe_to_reference


@pytest.mark.parametrize(
    "matrix", [np.eye(3), np.full((4, 4), np.nan), np.zeros((4, 4)), np.vstack([np.eye(4)[:3], [0, 0, 1, 1]])], ids=str
)
def test_what_is_no_transform_is_refused(matrix):
    with pytest.raises(BadTransform):
        Transform("Image", "Reference", matrix)


def test_unknown_coordinate_systems_are_refused():
    with pytest.raises(BadTransform, match="Imgae is not a coordinate system"):
        Transform.named("ImgaeToReference", np.eye(4))
    with pytest.raises(BadTransform, match="does not name a transform"):
        Transform.named("matrix", np.eye(4))


def test_a_matrix_cannot_be_changed_behind_a_transforms_back():
    values = np.eye(4)
    transform = Transform("Image", "Reference", values)
    values[0, 3] = 5
    assert transform.matrix[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        transform.matrix[0, 3] = 5


@given(six)
def test_a_transform_times_its_inverse_is_nothing(values):
    step = motion(values[:3], values[3:])
    assert np.allclose((step.inverse() @ step).matrix, np.eye(4), atol=1e-12)


@given(six)
def test_motion_parameters_are_the_inverse_of_motion(values):
    assert np.allclose(motion_parameters(motion(values[:3], values[3:])), values, atol=1e-9)


@given(six)
def test_a_reflected_motion_has_the_other_elevational_direction(values):
    x, y, z, rx, ry, rz = values
    assert np.allclose(motion_parameters(motion(values[:3], values[3:]).reflected()), [x, y, -z, -rx, -ry, rz], atol=1e-9)


def test_a_singular_transform_has_no_way_back():
    with pytest.raises(BadTransform, match="singular"):
        Transform("Image", "Reference", np.diag([1.0, 1.0, 0.0, 1.0])).inverse()


def test_the_centre_of_the_image_is_the_origin_of_center():
    to_center = image_to_center(101, 51, (0.2, 0.1))
    assert np.allclose(to_center.apply([[50, 25, 0], [0, 0, 0]]), [[0, 0, 0], [-10, -2.5, 0]])


def test_the_middle_of_the_first_row_is_the_origin_of_face():
    assert np.allclose(image_to_face(101, (0.2, 0.1)).apply([[50, 0, 0], [50, 10, 0]]), [[0, 0, 0], [0, 1, 0]])


def test_interpolation_meets_both_ends_and_turns_halfway():
    before = first_image_to_reference((0.1, 0.2))
    turn = Transform("Reference", "Reference", motion([2, 0, 4], [0, 0.2, 0]).matrix)
    after = turn @ before
    assert np.allclose(interpolated(before, after, 0).matrix, before.matrix)
    assert np.allclose(interpolated(before, after, 1).matrix, after.matrix)
    half = interpolated(before, after, 0.5)
    assert np.allclose(half.matrix[:3, 3], [1, 0, 2])
    assert np.allclose(half.matrix[:3, :3], motion([0, 0, 0], [0, 0.1, 0]).matrix[:3, :3] @ before.matrix[:3, :3])
