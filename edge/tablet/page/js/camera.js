// The camera of the 3D view: Reference millimetres to the screen. A proper rotation always: a mirrored volume is dangerous.

const FIELD_OF_VIEW = (25 * Math.PI) / 180; // narrow: near and far are still told apart, and lengths hardly distorted
const DISTANCE = 1 / Math.sin(FIELD_OF_VIEW / 2); // in radii of what is looked at
const DEPTH_RADII = 2.2; // in front of and behind the middle, for the images that stand out of the volume
const EASE = 0.2; // of the way to a new fit, per drawn frame
const MIN_ZOOM = 0.3;
const MAX_ZOOM = 30;

// Camera axes are right, up, towards the viewer: lateral to the right, axial (depth) down, elevational away. Determinant +1.
const STRAIGHT = [[1, 0, 0], [0, -1, 0], [0, 0, -1]]; // prettier-ignore

export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const along = (a, b, t) => [a[0] + b[0] * t, a[1] + b[1] * t, a[2] + b[2] * t];
export const unit = (a) => a.map((value) => value / Math.hypot(...a));
const transposed = (m) => m[0].map((_, column) => m.map((row) => row[column]));
const product = (a, b) => a.map((row) => transposed(b).map((column) => dot(row, column)));

/** A turn by `angle` about axis 0, 1 or 2. */
function turn(axis, angle) {
  const [u, v] = [(axis + 1) % 3, (axis + 2) % 3];
  const matrix = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]; // prettier-ignore
  matrix[u][u] = matrix[v][v] = Math.cos(angle);
  matrix[v][u] = Math.sin(angle);
  matrix[u][v] = -Math.sin(angle);
  return matrix;
}

/** Rows made orthonormal again; the third is the product of the first two, so that rounding can never end in a reflection. */
function righted([right, up]) {
  const x = unit(right);
  const y = unit(along(up, x, -dot(up, x)));
  return [x, y, cross(x, y)];
}

export class Camera {
  constructor() {
    this.target = [0, 0, 0]; // mm
    this.radius = 50; // mm, of the sphere that fills the view at zoom 1
    this.goal = null; // what the two above ease towards
    this.reset();
  }

  reset() {
    this.rotation = product(turn(0, 0.42), product(turn(1, 0.5), STRAIGHT)); // rows: right, up, towards the viewer
    this.zoom = 1;
    this.pan = [0, 0]; // mm on the screen
  }

  /** Looks at a box (mm) from now on; the way there is eased. */
  fit({ min, max }, at_once = false) {
    const target = min.map((low, axis) => (low + max[axis]) / 2);
    const radius = Math.max(Math.hypot(...min.map((low, axis) => max[axis] - low)) / 2, 1);
    this.goal = { target, radius };
    if (at_once) this.ease(1);
  }

  /** One frame closer to the goal; true while there is a way to go. */
  ease(share = EASE) {
    if (!this.goal) return false;
    const { target, radius } = this.goal;
    if (Math.hypot(...target.map((t, axis) => t - this.target[axis])) + Math.abs(radius - this.radius) < radius * 0.004) share = 1;
    this.target = this.target.map((t, axis) => t + (target[axis] - t) * share);
    this.radius += (radius - this.radius) * share;
    if (share === 1) this.goal = null;
    return true;
  }

  /** Turns what is seen to the right by `across` and downwards by `down` radians. */
  rotate(across, down) {
    this.rotation = righted(product(turn(0, down), product(turn(1, across), this.rotation)));
  }

  /** Turns the volume about its own axial direction (the turntable). */
  spin(angle) {
    this.rotation = righted(product(this.rotation, turn(1, angle)));
  }

  zoomBy(factor) {
    this.zoom = Math.min(Math.max(this.zoom * factor, MIN_ZOOM), MAX_ZOOM);
  }

  /** Moves what is seen by pixels of a view. */
  panBy(dx, dy, size) {
    const mm = (2 * this.radius * DISTANCE) / (this.#scale(size)[0] * size.width);
    this.pan = [this.pan[0] + dx * mm, this.pan[1] - dy * mm];
  }

  #scale({ width, height }) {
    const scale = this.zoom / Math.tan(FIELD_OF_VIEW / 2);
    return width > height ? [(scale * height) / width, scale] : [scale, (scale * width) / height];
  }

  /** What shaders and projections need, for a view of {width, height}. `matrix` (mm to clip) is column-major. */
  look(size) {
    const [right, up, back] = this.rotation;
    const [sx, sy] = this.#scale(size);
    const distance = DISTANCE * this.radius;
    const near = distance - DEPTH_RADII * this.radius;
    const far = distance + DEPTH_RADII * this.radius;
    const middle = [this.pan[0] - dot(right, this.target), this.pan[1] - dot(up, this.target), -distance - dot(back, this.target)];
    const depth = [(far + near) / (far - near), (2 * far * near) / (far - near)]; // clip z = depth[0] * w - depth[1]
    const eye = transposed(this.rotation).map((row) => dot(row, [-this.pan[0], -this.pan[1], distance]));
    const matrix = new Float32Array(16);
    for (let axis = 0; axis < 3; axis++) matrix.set([right[axis] * sx, up[axis] * sy, -back[axis] * depth[0], -back[axis]], 4 * axis);
    matrix.set([middle[0] * sx, middle[1] * sy, -middle[2] * depth[0] - depth[1], -middle[2]], 12);
    const forward = back.map((value) => -value);
    // A ray through (x, y) of the clip square goes along forward + x across + y upward, which is as long as its depth.
    const rays = { forward, across: right.map((value) => value / sx), upward: up.map((value) => value / sy) };
    return { matrix, depth, eye: along(eye, this.target, 1), ...rays };
  }
}

/** mm -> [x, y, depth, w] in the clip cube, by a column-major matrix. */
export function toClip(matrix, [x, y, z]) {
  const [cx, cy, cz, w] = [0, 1, 2, 3].map((row) => matrix[row] * x + matrix[4 + row] * y + matrix[8 + row] * z + matrix[12 + row]);
  return [cx / w, cy / w, cz / w, w];
}
