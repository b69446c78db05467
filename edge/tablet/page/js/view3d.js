// The volume from outside: ray-marched, with the live image, the path of the probe and a box with millimetres in the same space.
import { Camera, along, dot, toClip, unit } from "./camera.js";
import { box, frameLines, legend, pathLines, pixelPoint, planeLines, triad } from "./decor.js";
import { picture, turntable } from "./film.js";
import { flat } from "./gl/lines.js";
import { Marcher } from "./gl/marcher.js";
import { PHOTO_WINDOW, PRESETS, table } from "./presets.js";
import { View } from "./view.js";

export { PRESETS };

const SETTINGS = {
  mode: "mip", // mip, alpha, iso
  preset: "soft_tissue", // of `alpha`: one of PRESETS
  window: [10, 200], // 0..255
  iso_level: 90, // 0..255
  photoacoustic: true,
  photo_window: PHOTO_WINDOW,
  hide_invented: false, // interpolated and filled voxels: tinted, or not drawn at all; never as measured ones
  box: true,
  triad: true,
  planes: true, // outlines of the slices, where these are shown
  legend: null, // of saturation, as decor.js takes it; it is in every picture and film
};
const HIDDEN = 0.22; // what is left of a line behind the volume
const KEYS = {
  ArrowLeft: (view) => view.drag(-20, 0),
  ArrowRight: (view) => view.drag(20, 0),
  ArrowUp: (view) => view.drag(0, -20),
  ArrowDown: (view) => view.drag(0, 20),
  "+": (view) => view.pinch(1.15, 0, 0),
  "=": (view) => view.pinch(1.15, 0, 0), // the same key without Shift
  "-": (view) => view.pinch(1 / 1.15, 0, 0),
  0: (view) => view.reset(),
};

/** How far along a ray one would say that something is: (bright, view) -> index of a sample; -1 where there is nothing. */
const PICKS = {
  mip: (bright, view) => {
    const most = Math.max(...bright);
    return most > view.window[0] ? bright.indexOf(most) : -1;
  },
  iso: (bright, view) => bright.findIndex((value) => value >= view.iso_level),
  alpha: (bright, view, step_mm) => {
    const rows = table(PRESETS[view.preset], view.window);
    let clear = 1; // of the light is left
    return bright.findIndex((value) => value !== null && (clear *= (1 - rows[4 * Math.round(value) + 3] / 255) ** step_mm) < 0.5);
  },
};

export class View3D extends View {
  #poses = [];
  #lines = [];
  #image = null; // {bitmap, matrix12, width, height}
  #follows = true; // the camera fits the volume, until somebody zooms or pans
  #marcher = null;

  constructor(scene) {
    super(scene, SETTINGS);
    this.camera = new Camera();
  }

  /** The whole path of the sweep: [[sequence, sigma_mm, bridged, 12 numbers], ...]. `width`: of the images, in pixels, where `image` never came. */
  path(poses, { width } = {}) {
    this.width = width ?? this.width ?? 1;
    this.#poses = [...poses];
    this.#lines = pathLines(this.#poses, this.width);
    this.touch();
  }

  addPose(pose) {
    this.#poses.push(pose);
    this.#lines.push(...pathLines(this.#poses.slice(-2), this.width ?? 1));
    this.touch({ moving: true });
  }

  /** The live image where it is, or null for none. The bitmap is the view's from now on: a GPU that was lost and comes back gets it again. */
  image(image) {
    this.#forget();
    this.#image = image;
    if (image) this.#marcher?.image(image.bitmap);
    if (image && image.width !== this.width) this.path(this.#poses, image);
    this.fit();
    this.touch({ moving: true });
  }

  /** What the camera looks at: the volume, or the image alone before there is one. */
  fit() {
    let bounds = this.scene.volume.bounds_mm;
    if (!bounds && this.#image) {
      const { matrix12, width, height } = this.#image;
      const at = [[0, 0], [width, 0], [0, height], [width, height]].map(([i, j]) => pixelPoint(matrix12, i, j)); // prettier-ignore
      bounds = { min: [0, 1, 2].map((a) => Math.min(...at.map((p) => p[a]))), max: [0, 1, 2].map((a) => Math.max(...at.map((p) => p[a]))) };
    }
    if (bounds && this.#follows) this.camera.fit(bounds, !this.fitted || this.scene.calm);
    this.fitted = bounds !== null;
    this.touch({ moving: true });
  }

  /** A new epoch: nothing of the old sweep stays. */
  clear() {
    this.#poses = [];
    this.#lines = [];
    this.#forget();
    this.fitted = false;
    this.touch();
  }

  #forget() {
    this.#image?.bitmap.close();
    this.#image = null;
  }

  reset() {
    this.#follows = true;
    this.camera.reset();
    this.fit();
  }

  drag(dx, dy, x, y, panning) {
    if (panning) return this.pinch(1, dx, dy);
    const radians = Math.PI / Math.min(this.rect.width, this.rect.height);
    this.camera.rotate(dx * radians, dy * radians);
    this.touch({ moving: true });
  }

  pinch(factor, dx, dy) {
    this.#follows = false;
    this.camera.zoomBy(factor);
    this.camera.panBy(dx, dy, this.rect);
    this.touch({ moving: true });
  }

  wheel(steps) {
    this.pinch(1.1 ** -steps, 0, 0);
  }

  key(name) {
    if (this.rect) KEYS[name]?.(this);
    return name in KEYS;
  }

  /** mm -> [x, y] in CSS px of the canvas, or null where it is behind the viewer or the view is hidden. */
  project(point_mm) {
    if (!this.rect) return null;
    const [x, y, , w] = toClip(this.camera.look(this.rect).matrix, point_mm);
    return w > 0 ? [this.rect.x + ((x + 1) / 2) * this.rect.width, this.rect.y + ((1 - y) / 2) * this.rect.height] : null;
  }

  /** {origin, direction} in mm of the line of sight through a pixel. */
  ray(x, y) {
    const { eye, forward, across, upward } = this.camera.look(this.rect);
    const right = (2 * (x - this.rect.x)) / this.rect.width - 1;
    const up = 1 - (2 * (y - this.rect.y)) / this.rect.height;
    return { origin: eye, direction: unit(along(along(forward, across, right), upward, up)) };
  }

  /** What is seen at a pixel, in mm, or null: the brightest for mip, the first that is bright or opaque enough for iso and alpha. */
  async pick(x, y) {
    const { volume } = this.scene;
    if (!volume.bounds_mm || !this.holds(x, y)) return null;
    const { origin, direction } = this.ray(x, y);
    const { min, max } = volume.bounds_mm;
    const meets = [0, 1, 2].map((a) => [min, max].map((side) => (side[a] - origin[a]) / (direction[a] || 1e-9)).sort((p, q) => p - q));
    const from = Math.max(...meets.map(([near]) => near), 0);
    const to = Math.min(...meets.map(([, far]) => far));
    const step = volume.spacing_mm / 2;
    const points = [];
    for (let t = from; t <= to; t += step) points.push(along(origin, direction, t));
    if (!points.length) return null;
    const seen = await volume.sample(points, 0);
    const shown = ({ state }) => state && !(this.hide_invented && state > 1);
    return points[PICKS[this.mode](seen.map((one) => (shown(one) ? one.intensity : null)), this, step)] ?? null; // prettier-ignore
  }

  draw({ gl, textures, lines, labels, marcher }, { ratio, full }) {
    if (marcher !== this.#marcher && this.#image) marcher.image(this.#image.bitmap);
    this.#marcher = marcher;
    const { rect, scene } = this;
    const size = { width: rect.width, height: rect.height };
    if (this.camera.ease(scene.still ? 1 : undefined)) this.touch({ moving: true });
    const look = this.camera.look(size);
    if (this.stale || (full && !this.drawnFull)) {
      marcher.march(textures, this.#order(look), { width: size.width * ratio, height: size.height * ratio }, full ? 1 : scene.coarse);
      this.drawnFull = full;
      this.stale = false;
    }
    this.clip(gl, ratio);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    marcher.composite(size);
    const project = (point) => {
      const [x, y] = toClip(look.matrix, point);
      return [((x + 1) / 2) * size.width, ((1 - y) / 2) * size.height];
    };
    const bounds = scene.volume.bounds_mm;
    const around = this.box && bounds ? box(bounds, look.matrix, project, scene.words) : { lines: [], ticks: [], labels: [] };
    const slices = this.planes && bounds && scene.slices.some((slice) => slice.rect) ? planeLines(bounds, scene.cross_mm) : [];
    const placed = [...around.lines, ...slices, ...(this.#image ? frameLines(this.#image) : []), ...this.#lines];
    const corner = this.triad ? triad(this.camera.rotation, scene.words) : { lines: [], labels: [] };
    lines.draw(placed, { matrix: look.matrix, size, hidden: HIDDEN });
    lines.draw([...around.ticks, ...corner.lines], { matrix: flat(size), size });
    labels.draw([...around.labels, ...corner.labels], { size, ratio });
    if (!this.legend) return;
    const foot = legend(this.legend, size);
    lines.draw(foot.lines, { matrix: flat(size), size });
    labels.draw(foot.labels, { size, ratio });
  }

  /** What the marcher is told. Directions of light are those of the camera: above the left shoulder of the viewer. */
  #order({ eye, forward, across, upward, depth }) {
    const [right, up] = this.camera.rotation;
    return {
      mode: this.mode,
      look: { eye, forward, across, upward, depth },
      light: along(right.map((part) => -0.55 * part), up, 0.85), // prettier-ignore
      rows: table(PRESETS[this.preset], this.window),
      window: this.window,
      iso_level: this.iso_level,
      photo: this.photoacoustic && this.scene.textures.photoacoustic && (this.scene.textures.oxygen ? "oxygen" : "light"),
      photo_window: this.photo_window,
      most: this.hide_invented ? 1.5 : 3.5,
      image: this.#image,
      bounds: this.scene.volume.bounds_mm,
      radius: this.camera.radius,
    };
  }

  /** A PNG of the view as it is, at full resolution. */
  picture = () => picture(this);

  /** A film of one full turn: {blob, type}. */
  turntable = (options) => turntable(this, options);

  /** Distance in mm from the viewer along the line of sight. */
  depth(point_mm) {
    const { eye, forward } = this.camera.look(this.rect);
    return dot(along(point_mm, eye, -1), forward);
  }
}
