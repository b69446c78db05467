// Geometry of measurements in Reference millimetres, and how uncertain they are. Pure: no page, no device.

import { Refused } from './refused.js';

const minus = (a, b) => a.map((v, i) => v - b[i]);
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const norm = (a) => Math.hypot(...a);
export const SPACING_SHARE = 0.02; // of a length: pixel spacing and the speed of sound (1540 m/s) are known to about 2 %

export function distance([a, b]) {
  return norm(minus(a, b));
}

// Of a polygon in any plane.
export function area(points) {
  const sum = [0, 0, 0];
  for (let i = 1; i + 1 < points.length; i++) {
    cross(minus(points[i], points[0]), minus(points[i + 1], points[0])).forEach((v, k) => (sum[k] += v));
  }
  return norm(sum) / 2;
}

// At the second of three points, in degrees.
export function angle([a, b, c]) {
  const [u, v] = [minus(a, b), minus(c, b)];
  return (Math.atan2(norm(cross(u, v)), u[0] * v[0] + u[1] * v[1] + u[2] * v[2]) * 180) / Math.PI;
}

// [{at, area}] of the slices (layers of voxels across `axis`) that hold outlines, in order. What is cut more than once has several outlines in
// one slice, and its area is their sum; where two of them overlap nobody knows whether it is a hole or one drawn again: refused.
export function slicesOf(outlines, axis, spacing_mm) {
  const layers = new Map();
  for (const points of outlines) {
    const layer = Math.round(points[0][axis] / spacing_mm);
    const there = layers.get(layer) ?? [];
    if (there.some((other) => overlap(other, points, axis))) throw new Refused('OUTLINES_OVERLAP');
    layers.set(layer, [...there, points]);
  }
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const slice = (there) => ({ at: sum(there.map((points) => points[0][axis])) / there.length, area: sum(there.map(area)) });
  return [...layers.values()].map(slice).sort((a, b) => a.at - b.at);
}

// Whether two outlines of one slice share more than their edges.
function overlap(a, b, axis) {
  const [one, other] = [a, b].map((points) => points.map((point) => point.filter((_, k) => k !== axis)));
  const crosses = edges(one).some(([p, q]) => edges(other).some(([r, s]) => side(p, q, r) * side(p, q, s) < 0 && side(r, s, p) * side(r, s, q) < 0));
  return crosses || one.some((point) => holds(other, point)) || other.some((point) => holds(one, point));
}

const edges = (points) => points.map((point, i) => [point, points[(i + 1) % points.length]]);
const side = ([px, py], [qx, qy], [x, y]) => Math.sign((qx - px) * (y - py) - (qy - py) * (x - px));

function holds(points, [x, y]) {
  return edges(points).filter(([[px, py], [qx, qy]]) => py > y !== qy > y && x < px + ((y - py) / (qy - py)) * (qx - px)).length % 2 === 1;
}

// Outlines on parallel slices, in ml: trapezoids between the slices, half a slice beyond the first and the last.
export function stackedVolume(outlines, axis, spacing_mm) {
  const cut = slicesOf(outlines, axis, spacing_mm);
  if (cut.length < 2) throw new Refused('ONE_SLICE');
  let volume = 0;
  for (let i = 1; i < cut.length; i++) volume += ((cut[i].area + cut[i - 1].area) / 2) * (cut[i].at - cut[i - 1].at);
  const step = (cut.at(-1).at - cut[0].at) / (cut.length - 1);
  return (volume + (cut[0].area + cut.at(-1).area) * (step / 2)) / 1000;
}

// Standard deviation (mm) of the way between two points: voxels, spacing, and the drift of the probe's path between their images.
export function sigmaDistance(points, { path = [], spacing_mm = 0.5 }) {
  const length = distance(points);
  const voxel = spacing_mm * Math.sqrt(2 / 12);
  return Math.hypot(voxel, SPACING_SHARE * length, driftBetween(points[0], points[1], path));
}

export function driftBetween(a, b, path) {
  if (path.length < 2) return 0;
  const [i, j] = [a, b].map((point) => nearest(point, path));
  if (path[i][1] === null || path[j][1] === null) return i === j ? 0 : NaN; // nobody knows
  return Math.sqrt(Math.abs(path[i][1] ** 2 - path[j][1] ** 2));
}

// Index of the image whose plane lies nearest to a point: rows of ImageToReference begin at pose[3].
export function nearest(point, path) {
  let best = 0;
  let least = Infinity;
  path.forEach((pose, i) => {
    const m = pose.slice(3);
    const normal = cross([m[0], m[4], m[8]], [m[1], m[5], m[9]]);
    const away = Math.abs(normal.reduce((s, n, k) => s + n * (point[k] - m[4 * k + 3]), 0)) / norm(normal);
    if (away < least) [best, least] = [i, away];
  });
  return best;
}

const spread = (points) => Math.max(...points.map((a) => Math.max(...points.map((b) => distance([a, b])))));

function widest(points, known) {
  let most = [points[0], points[1]];
  for (const a of points) for (const b of points) if (distance([a, b]) > distance(most)) most = [a, b];
  return sigmaDistance(most, known);
}

// One table of what can be measured: how many points at least and at most, unit, value, standard deviation.
export const KINDS = {
  distance: { least: 2, most: 2, unit: 'mm', value: distance, sigma: sigmaDistance },
  angle: {
    least: 3, most: 3, unit: 'deg', value: angle,
    sigma: (points, known) => (Math.atan2(widest(points, known), Math.min(distance(points.slice(0, 2)), distance(points.slice(1)))) * 180) / Math.PI,
  },
  area: {
    least: 3, most: 64, unit: 'mm2', value: area,
    sigma: (points, known) => (2 * area(points) * widest(points, known)) / spread(points),
  },
  note: { least: 1, most: 1, unit: '', value: () => 0, sigma: () => 0 },
};

export function measured(kind, points_mm, known, text = '') {
  const { unit, value, sigma } = KINDS[kind];
  return { kind, points_mm, unit, value: value(points_mm), uncertainty: sigma(points_mm, known), text };
}

// Of a volume: three lengths, each as uncertain as the widest.
export function measuredVolume(ml, points_mm, known, extra = {}) {
  const share = points_mm.length > 1 ? (3 * widest(points_mm, known)) / Math.max(spread(points_mm), known.spacing_mm) : 0;
  return { kind: 'volume', points_mm, unit: 'ml', value: ml, uncertainty: ml * share, text: '', ...extra };
}
