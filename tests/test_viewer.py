"""What the page's renderer draws of known volumes: the right way round, in the right grey, invented voxels told apart."""

import numpy as np
import pytest
from chromium import missing
from viewer import HALF, SPACING_MM, VIEWS, block, viewing

from edge.tablet import wire

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "runs")
CORNER, BARS = 255, {0: 205, 1: 150, 2: 95}  # how bright: the cube where the bars meet, and the bar along each axis
LENGTHS = (44, 34, 26)  # voxels
EMPTY = 12  # around the bars: scanned, and dark
WAYS = [(0.0, 0.0), (2.2, -0.3), (-1.2, 0.4)]  # turns (radians) of the camera from where it starts; from none of them a bar is seen end on


@pytest.fixture(scope="module")
def viewer():
    with viewing() as viewer:
        yield viewer


@pytest.fixture
def screen(viewer):
    viewer.open()
    return viewer


def bars(mirrored=None):
    """Three bars from one corner along +x, +y, +z; ``mirrored``: an axis along which the volume is turned inside out."""
    voxels = np.full((40, 48, 56), EMPTY, np.uint8)
    for axis, bright in BARS.items():
        along = [slice(5, 10)] * 3
        along[2 - axis] = slice(5, 5 + LENGTHS[axis])
        voxels[tuple(along)] = bright
    voxels[4:11, 4:11, 4:11] = CORNER
    return block(voxels if mirrored is None else np.flip(voxels, 2 - mirrored))


def middle(picture, bright):
    """(right, up) of the pixels that are as grey as this, those beside other greys left out."""
    grey = (np.abs(picture - bright) < 14).all(2) & (np.ptp(picture, axis=2) < 8)
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        grey = grey & np.roll(grey, step, axis)
    rows, columns = np.nonzero(grey)
    assert len(rows) > 8, f"nothing is seen that is {bright} bright"
    return np.array([columns.mean(), -rows.mean()])


def right_way_round(picture, rotation):
    """Each pair of bars turns on the screen as the axes do in a right-handed space that is seen by this camera."""
    corner = middle(picture, CORNER)
    seen = [middle(picture, bright) - corner for bright in BARS.values()]
    turns = [seen[(axis + 1) % 3][0] * seen[(axis + 2) % 3][1] - seen[(axis + 1) % 3][1] * seen[(axis + 2) % 3][0] for axis in range(3)]
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert np.abs(rotation[2]).min() > 0.15, "a bar is seen end on: choose another direction"
    return (np.sign(turns) == np.sign(rotation[2])).all()


def seen_from(viewer, across, down):
    """The picture in 3D after a turn from the start, and the camera's axes: right, up, towards the viewer."""
    viewer.js("viewer.scene.view3d.camera.reset(); viewer.scene.view3d.camera.rotate(...words)", across, down)
    return viewer.picture()["3d"], np.array(viewer.js("return viewer.scene.view3d.camera.rotation"))


def plain(viewer, **settings):
    viewer.set3d(**{"mode": "mip", "window": [0, 255], **settings})


@pytest.mark.parametrize("limits", [{}, {"maxSide": 32}], ids=["full", "reduced"])
def test_the_volume_is_never_mirrored_in_3d(viewer, limits):
    viewer.open(**limits)
    plain(viewer)
    viewer.show(bars())
    for way in WAYS:
        assert right_way_round(*seen_from(viewer, *way)), way
    assert viewer.js("return viewer.volume.reduced") is bool(limits)
    for axis in range(3):
        viewer.show(bars(mirrored=axis))
        for way in WAYS:
            assert not right_way_round(*seen_from(viewer, *way)), "a mirrored volume would pass this test"


@pytest.mark.parametrize("limits", [{}, {"budget": 20_000}, {"maxSide": 7}], ids=str)
def test_a_volume_that_grew_looks_like_one_that_came_at_once(viewer, limits):
    """In any order, and layer by layer: the textures grow, move and lose detail on the way."""
    viewer.open(**limits)
    plain(viewer)
    voxels = bars()
    store = viewer.show(voxels, block(voxels.intensity[:, :30, :30] // 2))
    at_once = viewer.picture()
    random = np.random.default_rng(2)
    orders = [np.argsort(store.coords[: store.count, 2], kind="stable"), random.permutation(store.count)]
    for order in orders:
        viewer.begin()
        for slots in np.array_split(order, 7):
            for channel in (0, 1):
                of = slots[store.channel[slots] == channel]
                if len(of):
                    every = np.ones((len(of), 512), bool)
                    viewer.take([wire.bricks(1, viewer.epoch, channel, 0.0, store.coords[of], every, store.voxels[of])])
            viewer.js("await viewer.settled()")
        for name, picture in viewer.picture().items():
            assert np.ptp(picture) > 100
            other = (np.abs(picture - at_once[name]).max(2) > 2).sum()
            assert other <= 40 * (name == "3d"), f"{name}: the rim may be blended with nothing, where the textures reach farther"
    texels = viewer.js("const { voxels, states, photo } = viewer.scene.textures; return [voxels, states, photo].map(({ dims }) => dims)")
    for dims in texels:
        assert max(dims) <= limits.get("maxSide", 1 << 20) and np.prod(dims) <= limits.get("budget", 1 << 40)
    assert viewer.js("return viewer.volume.reduced") is bool(limits)


def test_the_camera_stays_right_handed_whatever_fingers_do(screen):
    plain(screen)
    screen.show(bars())
    before, _ = seen_from(screen, 0, 0)
    screen.js("const v = viewer.scene.view3d; for (let n = 0; n < 400; n++) v.drag(37 * Math.sin(n), 23 * Math.cos(3 * n))")
    rotation = np.array(screen.js("return viewer.scene.view3d.camera.rotation"))
    assert np.linalg.det(rotation) == pytest.approx(1) and rotation @ rotation.T == pytest.approx(np.eye(3))
    assert np.abs(screen.picture()["3d"] - before).max() > 50


@pytest.mark.parametrize("mode", ["alpha", "iso"])
def test_what_is_nearer_hides_what_is_farther(screen, mode):
    """With the test above: not even a picture seen from inside out would pass."""
    voxels, state = np.zeros((40, 40, 40), np.uint8), np.ones((40, 40, 40), np.uint8)
    voxels[2:7, 4:36, 4:36] = voxels[33:38, 4:36, 4:36] = 220
    state[33:38] = 3
    screen.show(block(voxels, state))
    plain(screen, mode=mode, preset="bone")
    blue = {}
    for end, rows in {"low z": [[1, 0, 0], [0, -1, 0], [0, 0, -1]], "high z": [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]}.items():
        assert np.linalg.det(rows) == pytest.approx(1)
        screen.js("viewer.scene.view3d.camera.rotation = words[0]", rows)
        patch = screen.picture()["3d"][HALF // 2 - 20 : HALF // 2 + 20, HALF // 2 - 20 : HALF // 2 + 20]
        blue[end] = (patch[..., 2] - patch[..., 0]).mean()
    assert blue["low z"] < -10 and blue["high z"] > 10
    screen.set3d(hide_invented=True)
    hidden = screen.picture()["3d"]
    voxels[33:38] = 0
    screen.show(block(voxels))
    assert np.abs(hidden - screen.picture()["3d"]).max() <= 2, "something is left of what is hidden"


@pytest.mark.parametrize("mirrored", [None, 0, 1, 2])
def test_slices_go_to_the_right_and_down(screen, mirrored):
    volume = bars(mirrored)
    screen.show(volume)
    corner = [(7 if axis != mirrored else volume.intensity.shape[2 - axis] - 8) * SPACING_MM + volume.origin_mm[axis] for axis in range(3)]
    screen.js("viewer.scene.cross_mm = words[0]", corner)
    pictures = screen.picture()
    for name, (across, down) in {"lateral-axial": (0, 1), "elevational-axial": (2, 1), "lateral-elevational": (0, 2)}.items():
        way = {axis: middle(pictures[name], BARS[axis]) - middle(pictures[name], CORNER) for axis in (across, down)}
        right = bool(way[across][0] > 20 and abs(way[across][1]) < 2)
        low = bool(way[down][1] < -20 and abs(way[down][0]) < 2)
        assert right is (across != mirrored) and low is (down != mirrored), name


def test_a_slice_shows_the_voxel_that_lies_there(screen):
    """Its pixels and its millimetres agree, to half a voxel."""
    voxels = np.full((24, 32, 40), 40, np.uint8)
    voxels[9, 20, 13] = 250
    volume = block(voxels)
    screen.show(volume)
    at = [index * SPACING_MM + low for index, low in zip((13, 20, 9), volume.origin_mm, strict=True)]
    screen.js("viewer.scene.cross_mm = words[0]; viewer.scene.slices.forEach((slice) => (slice.linear = false))", at)
    pictures = screen.picture()
    for n, name in enumerate(list(VIEWS)[1:]):
        x, y = screen.js("return viewer.scene.slices[words[0]].toPixel(words[1])", n, at)
        rows, columns = np.nonzero((pictures[name] > 225).all(2))
        left, top = (HALF * part for part in VIEWS[name])
        beside = screen.js("return viewer.scene.slices[words[0]].toMm(words[1] + 10, words[2])", n, x, y)
        scale = 10 / np.linalg.norm(np.subtract(beside, at))
        assert abs((columns.min() + columns.max() + 1) / 2 + left - x) < scale * SPACING_MM / 2
        assert abs((rows.min() + rows.max() + 1) / 2 + top - y) < scale * SPACING_MM / 2
        assert np.ptp(columns) + 1 == pytest.approx(scale * SPACING_MM, abs=1.5)


@pytest.mark.parametrize(("value", "window"), [(120, (0, 255)), (60, (0, 255)), (120, (10, 200)), (180, (100, 220))])
def test_a_known_voxel_has_the_grey_that_its_window_says(screen, value, window):
    screen.show(block(np.full((24, 24, 24), value, np.uint8)))
    plain(screen, window=list(window))
    screen.js("viewer.scene.slices.forEach((slice) => (slice.window = words[0]))", list(window))
    expected = 255 * (value - window[0]) / (window[1] - window[0])
    for name, picture in screen.picture().items():
        patch = picture[HALF // 2 + 8 : HALF // 2 + 32, HALF // 2 + 8 : HALF // 2 + 32]
        assert np.abs(patch - expected).max() <= 3, name


def ball(side=40):
    """A bright shell, softer towards the outside, with a dark inside: tissue, vessel and bone all see something in it."""
    at = np.indices((side, side, side)) - (side - 1) / 2
    far = np.sqrt((at**2).sum(0)) / (side / 2)
    return np.clip(255 * np.exp(-(((far - 0.6) / 0.16) ** 2)) + 14, 0, 255).astype(np.uint8)


def test_every_mode_and_preset_draws_something_of_its_own(screen):
    plain(screen)
    empty = screen.picture()["3d"]
    screen.show(block(ball()))
    looks = {f"alpha {preset}": {"mode": "alpha", "preset": preset} for preset in screen.js("return Object.keys(viewer.PRESETS)")}
    looks |= {"mip": {"mode": "mip"}, "iso": {"mode": "iso"}}
    assert len(looks) == 5
    pictures = {}
    for name, look in looks.items():
        plain(screen, **look)
        pictures[name] = screen.picture()["3d"]
        assert (np.abs(pictures[name] - empty).max(2) > 25).mean() > 0.05, f"{name} draws nothing"
    for name, picture in pictures.items():
        for other, drawn in pictures.items():
            assert name == other or np.abs(picture - drawn).mean() > 1, f"{name} looks like {other}"


@pytest.mark.parametrize("mode", ["mip", "alpha", "iso"])
def test_invented_voxels_are_never_drawn_as_measured_ones(screen, mode):
    blue = {}
    for state in (1, 2, 3):
        screen.show(block(np.full((24, 24, 24), 190, np.uint8), state))
        plain(screen, mode=mode, preset="bone", hide_invented=False)
        for name, picture in screen.picture().items():
            patch = picture[HALF // 2 + 8 : HALF // 2 + 32, HALF // 2 + 8 : HALF // 2 + 32].mean((0, 1))
            blue[name, state] = (patch[2] - patch[0]) / patch.mean()
    for name in VIEWS:
        assert blue[name, 1] + 0.2 < blue[name, 2] < blue[name, 3] - 0.2, name
    plain(screen, mode=mode, preset="bone", hide_invented=True)
    hidden = screen.picture()["3d"]
    screen.begin()
    assert np.abs(hidden - screen.picture()["3d"]).max() <= 2, "hidden, but something of it is seen"


@pytest.mark.parametrize("mode", ["mip", "alpha", "iso"])
def test_hidden_voxels_do_not_light_up_their_neighbours(screen, mode):
    voxels, state = np.full((30, 30, 30), 20, np.uint8), np.ones((30, 30, 30), np.uint8)
    plain(screen, mode=mode, iso_level=60, hide_invented=True)
    screen.show(block(voxels))
    without = screen.picture()["3d"]
    voxels[8:20, 8:20, 8:20], state[8:20, 8:20, 8:20] = 255, 3
    screen.show(block(voxels, state))
    assert np.abs(screen.picture()["3d"] - without).max() <= 2
    screen.set3d(hide_invented=False)
    assert np.abs(screen.picture()["3d"] - without).max() > 50


LIVE_IMAGE = """
    const canvas = Object.assign(document.createElement('canvas'), {width: 40, height: 30}); const c = canvas.getContext('2d');
    for (const [grey, ...box] of [[60, 0, 0, 40, 30], [95, 0, 0, 40, 6], [150, 0, 0, 6, 30], [255, 0, 0, 8, 8]]) {
      c.fillStyle = `rgb(${grey} ${grey} ${grey})`;
      c.fillRect(...box);
    }
    viewer.scene.view3d.image({bitmap: await createImageBitmap(canvas), matrix12: words[0], width: 40, height: 30})"""


def test_the_live_image_stands_where_it_was_taken(screen):
    """Its first pixel, its first row and its first column, in the space of the volume."""
    screen.show(block(np.full((30, 30, 40), 8, np.uint8)))
    plain(screen)
    pose = [0.35, 0, 0.02, -4, 0.01, 0.3, 0, 4, 0, 0.01, 0.4, -5]  # ImageToReference: pixels of 0.35 by 0.3 mm, a little turned
    screen.js(LIVE_IMAGE, pose)
    for way in WAYS:
        picture, rotation = seen_from(screen, *way)
        for bright, pixel in {255: (3.5, 3.5), 95: (22, 2.5), 150: (2.5, 18)}.items():
            point = (np.reshape(pose, (3, 4)) @ [*pixel, 0, 1]).tolist()
            x, y = screen.js("return viewer.scene.view3d.project(words[0])", point)
            assert np.abs(picture[int(y), int(x)] - bright).max() < 12, "a little of what is behind shines through"
        first, row, column = (np.reshape(pose, (3, 4)) @ [*pixel, 0, 1] for pixel in ((0, 0), (1, 0), (0, 1)))
        corner, along, down = (middle(picture, bright) for bright in (248, 92, 146))
        turns = np.linalg.det([along - corner, down - corner]), np.linalg.det((rotation @ np.transpose([row - first, column - first]))[:2])
        assert np.sign(turns[0]) == np.sign(turns[1]), "the image is mirrored"


def test_the_wavelength_that_is_chosen_is_drawn_and_no_other(screen):
    """Light of two wavelengths at two places; each is seen where it is, and nothing of the other, also after the GPU was lost."""
    size = (30, 40, 40)
    at = {1: np.s_[10:20, 10:20, 5:15], 2: np.s_[10:20, 10:20, 25:35]}
    lights = {channel: np.zeros(size, np.uint8) for channel in at}
    for channel, place in at.items():
        lights[channel][place] = 120  # orange
    screen.show(block(np.full(size, 20, np.uint8)), *(block(light, (light > 0).astype(np.uint8)) for light in lights.values()))
    plain(screen)
    screen.js("viewer.scene.cross_mm = words[0]", [4.0, 10.0, -2.0])

    def coloured():
        """Of each view: (left, right) whether light is seen there; the 3D view only whether there is any."""
        pictures = screen.picture()
        parts = *np.split(pictures["lateral-axial"], 2, axis=1), pictures["3d"]
        return tuple(bool(((part[..., 0] - part[..., 2]) > 150).sum() > 200) for part in parts)

    assert coloured() == (True, False, True)
    for light, seen in (
        (2, (False, True, True)),
        (0, (False, False, False)),
        (1, (True, False, True)),
        (3, (False, False, False)),
        (2, (False, True, True)),
    ):
        screen.js("viewer.scene.light = words[0]; await viewer.pause(100)", light)
        assert coloured() == seen, light
    screen.js("await viewer.withoutGpu()")
    assert coloured() == (False, True, True)


def test_the_live_image_comes_back_with_the_gpu(screen):
    screen.show(block(np.full((30, 30, 40), 8, np.uint8)))
    plain(screen)
    without = screen.picture()["3d"]
    screen.js(LIVE_IMAGE, [0.35, 0, 0, -4, 0, 0.3, 0, 4, 0, 0, 0.4, -5])
    before = screen.picture()["3d"]
    assert np.abs(before - without).max() > 200
    screen.js("await viewer.withoutGpu()")
    assert np.abs(screen.picture()["3d"] - before).max() <= 2


def test_a_picture_without_the_gpu_is_refused_by_name(screen):
    screen.show(block(ball()))
    named = "(() => viewer.scene.view3d[what]().then(() => 'made', (wrong) => wrong.error))()"
    for what in ("picture", "turntable"):
        assert screen.js(f"const what = words[0]; return viewer.withoutGpu(() => {named})", what) == "NO_GPU"
    assert screen.js("return viewer.scene.view3d.picture().then((blob) => blob.type)") == "image/png", "it is there again"


def test_the_picture_is_the_same_after_the_gpu_was_lost(screen):
    lit = np.where(ball() > 200, 255, 0).astype(np.uint8)
    screen.show(block(ball()), block(lit[:, :, :20]))
    slow = "const keys = viewer.volume.keys.bind(viewer.volume); viewer.volume.keys = () => viewer.pause(200).then(keys)"
    screen.js(slow)  # the worker has other work
    for mode in ("mip", "iso"):
        plain(screen, mode=mode, box=True, triad=True)
        before = screen.picture()
        screen.js("await viewer.withoutGpu()")
        after = screen.picture()
        for name in VIEWS:
            assert np.ptp(before[name]) > 100
            assert np.abs(after[name] - before[name]).max() <= 2, name
