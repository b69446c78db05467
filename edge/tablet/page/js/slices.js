// Three orthogonal cuts with one crosshair, true to millimetres: lateral to the right, depth down, and never mirrored.
import { PHOTO_WINDOW } from "./presets.js";
import { AXES } from "./decor.js";
import { flat } from "./gl/lines.js";
import { View } from "./view.js";

/** Axes of Reference (0 lateral, 1 axial, 2 elevational) to the right, down, and through each plane. */
export const PLANES = [
  { plane: "lateral-axial", across: 0, down: 1, normal: 2 },
  { plane: "elevational-axial", across: 2, down: 1, normal: 0 },
  { plane: "lateral-elevational", across: 0, down: 2, normal: 1 },
];
const SETTINGS = { window: [0, 255], photoacoustic: true, photo_window: PHOTO_WINDOW, linear: true };
const MARGIN_PX = 26;
const MAX_ZOOM = 30;
const BARS_MM = [1, 2, 5, 10, 20, 50, 100];
const BAR_PX = 60; // at least so long
const one = (axis) => [0, 1, 2].map((a) => (a === axis ? 1 : 0));

export class SliceView extends View {
  constructor(scene, { plane, across, down, normal }) {
    super(scene, SETTINGS);
    Object.assign(this, { plane, across, down, normal });
    this.reset();
  }

  reset() {
    this.zoom = 1;
    this.pan = [0, 0]; // px
    this.touch();
  }

  /** px per mm, and the mm in the middle of the view. */
  get #place() {
    const { min, max } = this.scene.volume.bounds_mm ?? { min: [0, 0, 0], max: [40, 40, 40] };
    const [wide, high] = [max[this.across] - min[this.across], max[this.down] - min[this.down]];
    const fit = Math.min((this.rect.width - 2 * MARGIN_PX) / Math.max(wide, 1), (this.rect.height - 2 * MARGIN_PX) / Math.max(high, 1));
    const scale = Math.max(fit, 0.1) * this.zoom;
    const middle = [this.across, this.down].map((axis, n) => (min[axis] + max[axis]) / 2 - this.pan[n] / scale);
    return { scale, middle };
  }

  /** CSS px of the canvas -> [x, y, z] in mm, on the plane. */
  toMm(x, y) {
    const { scale, middle } = this.#place;
    const point = [...this.scene.cross_mm];
    point[this.across] = middle[0] + (x - this.middle[0]) / scale;
    point[this.down] = middle[1] + (y - this.middle[1]) / scale;
    return point;
  }

  /** mm -> CSS px of the canvas; null while the view is hidden. */
  toPixel(point_mm) {
    if (!this.rect) return null;
    const { scale, middle } = this.#place;
    return [this.middle[0] + (point_mm[this.across] - middle[0]) * scale, this.middle[1] + (point_mm[this.down] - middle[1]) * scale];
  }

  /** Through the volume by n voxels. */
  step(n) {
    const cross = [...this.scene.cross_mm];
    cross[this.normal] += n * this.scene.volume.spacing_mm;
    this.scene.cross_mm = cross;
  }

  tap(x, y) {
    this.scene.cross_mm = this.toMm(x, y);
  }

  drag(dx, dy, x, y, panning) {
    if (panning) this.pinch(1, dx, dy);
    else this.tap(x, y);
  }

  pinch(factor, dx, dy) {
    this.zoom = Math.min(Math.max(this.zoom * factor, 0.5), MAX_ZOOM);
    this.pan = [this.pan[0] * factor + dx, this.pan[1] * factor + dy];
    this.touch();
  }

  wheel(steps, x, y, zooming) {
    if (zooming) this.pinch(1.1 ** -steps, 0, 0);
    else this.step(steps);
  }

  key(name) {
    const act = { PageUp: () => this.step(-1), PageDown: () => this.step(1), "+": () => this.pinch(1.15, 0, 0), "-": () => this.pinch(1 / 1.15, 0, 0), 0: () => this.reset() }[name];
    act?.();
    return Boolean(act);
  }

  draw({ gl, textures, lines, labels, slicer }, { ratio }) {
    const { rect, scene } = this;
    const size = { width: rect.width, height: rect.height };
    this.clip(gl, ratio);
    const { scale: texels, offset, dims } = textures.placement;
    const { scale } = this.#place;
    const texel = (point) => point.map((mm, axis) => mm * texels + offset[axis]);
    const way = (axis) => one(axis).map((part) => (part * texels) / scale);
    textures.bind();
    slicer.use({
      ...{ uVoxels: 0, uStates: 1, uPhoto: 3, uSize: [size.width, size.height], uLinear: this.linear },
      ...{ uOrigin: texel(this.toMm(rect.x, rect.y)), uAcross: way(this.across), uDown: way(this.down) },
      ...{ uA: one(this.across), uB: one(this.down), uNormal: one(this.normal), uScale: dims.map((side) => 1 / side) },
      uDims: textures.origin ? dims : [0, 0, 0],
      uWindow: this.window.map((at) => at / 255),
      uPhotoWindow: this.photo_window.map((at) => at / 255),
      uHasPhoto: this.photoacoustic && textures.photoacoustic,
      uOxygen: textures.oxygen,
    });
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    const [x, y] = this.toPixel(scene.cross_mm).map((at, n) => at - [rect.x, rect.y][n]);
    const [h, v] = [AXES[this.down].colour, AXES[this.across].colour]; // each line in the colour of the axis that it is a cut across
    const bar_mm = BARS_MM.find((mm) => mm * scale >= BAR_PX) ?? BARS_MM.at(-1);
    const foot = size.height - 14;
    const drawn = [
      [[0, y], [size.width, y], [...h.slice(0, 3), 0.55], 1.2],
      [[x, 0], [x, size.height], [...v.slice(0, 3), 0.55], 1.2],
      [[14, foot], [14 + bar_mm * scale, foot], [0.87, 0.91, 0.95, 1], 2.5],
    ];
    lines.draw(drawn, { matrix: flat(size), size });
    const at = `${scene.words[AXES[this.normal].name]} ${scene.cross_mm[this.normal].toFixed(1)} mm`;
    if (scene.told) labels.draw([[scene.told, [x + 8, y - 12], { px: 13, align: [0, 0.5], colour: "#ffffff" }]], { size, ratio });
    labels.draw([[`${bar_mm} mm`, [14 + (bar_mm * scale) / 2, foot - 12], { px: 12 }], [at, [size.width - 10, foot - 4], { px: 12, align: [1, 0.5], colour: AXES[this.normal].css }]], { size, ratio }); // prettier-ignore
    this.stale = false;
  }
}
