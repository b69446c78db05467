// Lines and words around the volume: its box with ticks in mm, the path of the probe, the live image's frame, which way is which.
import { along, toClip } from "./camera.js";
import { OXYGEN_PERCENT, oxygenColour } from "./presets.js";

export const AXES = [
  { name: "lateral", colour: [1.0, 0.56, 0.48, 1], css: "#ff9a8a" },
  { name: "axial", colour: [0.5, 0.85, 0.56, 1], css: "#8fe09a" },
  { name: "elevational", colour: [0.5, 0.73, 1.0, 1], css: "#8fc2ff" },
];
const EDGE = [0.62, 0.7, 0.78];
const STEPS_MM = [1, 2, 5, 10, 20, 50, 100];
const TICK_PX = 5;
const TICK_APART_PX = 30;
const TRIAD_PX = 30;
const LEGEND_PX = 240;
const LETTER_PX = 6; // of the words below it, on average
const ROW_PX = 14;
const PLATE_PX = 44; // with the title and the bar
const FRAME = [0.21, 0.88, 0.8, 0.95];

/** Drift (sigma in mm) -> colour of the path; between two rows they are mixed. Lighter to darker too, for those who see no red. */
const DRIFT = [
  [0, [0.35, 0.95, 0.85]],
  [2, [0.98, 0.85, 0.3]],
  [5, [0.95, 0.33, 0.25]],
];
const UNKNOWN = [0.62, 0.66, 0.7];
const BRIDGED = [1, 1, 1]; // frames were lost there: the place was guessed over the gap

export function driftColour(sigma_mm) {
  if (sigma_mm === null) return UNKNOWN;
  const above = DRIFT.findIndex(([mm]) => mm >= sigma_mm);
  if (above < 1) return above === 0 ? DRIFT[0][1] : DRIFT.at(-1)[1];
  const [[low, from], [high, to]] = [DRIFT[above - 1], DRIFT[above]];
  return from.map((part, i) => part + ((to[i] - part) * (sigma_mm - low)) / (high - low));
}

const corners = ({ min, max }) => [...Array(8).keys()].map((n) => min.map((low, axis) => ((n >> axis) & 1 ? max[axis] : low)));
const EDGES = [0, 1, 2].flatMap((axis) => [...Array(8).keys()].filter((n) => !((n >> axis) & 1)).map((n) => ({ axis, from: n, to: n | (1 << axis) })));

/** The point of a pixel (i across, j down) by the 12 numbers of ImageToReference. */
export const pixelPoint = (m, i, j) => [0, 4, 8].map((row) => m[row] * i + m[row + 1] * j + m[row + 3]);

export const frameLines = ({ matrix12, width, height }) => {
  const at = [[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]].map(([i, j]) => pixelPoint(matrix12, i, j)); // prettier-ignore
  return at.map((point, n) => [point, at[(n + 1) % 4], FRAME, n === 0 ? 3 : 1.25]); // the probe's side is the thick one
};

/** `poses`: [sequence, sigma_mm, bridged, 12 numbers]; the path goes through the middle of the images' first row, where the probe is. */
export const pathLines = (poses, width) => {
  const points = poses.map(([, , , m]) => pixelPoint(m, (width - 1) / 2, 0));
  return points.slice(1).map((to, n) => {
    const [, sigma_mm, bridged] = poses[n + 1];
    return [points[n], to, [...(bridged ? BRIDGED : driftColour(sigma_mm)), 0.95], bridged ? 1.25 : 2.5];
  });
};

/** The three planes of the slices, as far as the volume reaches. */
export const planeLines = ({ min, max }, cross_mm) =>
  AXES.flatMap(({ colour }, axis) => {
    const [u, v] = [(axis + 1) % 3, (axis + 2) % 3];
    const at = [[min, min], [max, min], [max, max], [min, max]].map(([a, b]) => { // prettier-ignore
      const point = [...cross_mm];
      [point[u], point[v]] = [a[u], b[v]];
      return point;
    });
    return at.map((point, n) => [point, at[(n + 1) % 4], [...colour.slice(0, 3), 0.45], 1]);
  });

/** The box: {lines (mm), ticks (px), labels}. `project`: mm -> px of the view. */
export function box(bounds, matrix, project, words) {
  const at = corners(bounds);
  const far = at.map((point, n) => [toClip(matrix, point)[3], n]).sort((a, b) => b[0] - a[0])[0][1];
  const px = at.map(project);
  const lines = EDGES.map(({ from, to }) => [at[from], at[to], [...EDGE, from === far || to === far ? 0.2 : 0.75], 1.1]);
  const middle = [0, 1].map((part) => px.reduce((sum, point) => sum + point[part] / 8, 0));
  const ticks = [];
  const labels = [];
  AXES.forEach(({ name, css }, axis) => {
    // Of the four edges along an axis the outermost: below the box, or to its left for the depth.
    const rank = ({ from, to }) => (axis === 1 ? -(px[from][0] + px[to][0]) : px[from][1] + px[to][1]);
    const { from, to } = EDGES.filter((edge) => edge.axis === axis).sort((a, b) => rank(b) - rank(a))[0];
    const way = [px[to][0] - px[from][0], px[to][1] - px[from][1]];
    const length_px = Math.hypot(...way);
    if (length_px < TICK_APART_PX) return; // seen end on
    const half = [(px[from][0] + px[to][0]) / 2, (px[from][1] + px[to][1]) / 2];
    let out = [-way[1] / length_px, way[0] / length_px];
    if (out[0] * (half[0] - middle[0]) + out[1] * (half[1] - middle[1]) < 0) out = out.map((part) => -part);
    const off = (point, by) => [point[0] + out[0] * by, point[1] + out[1] * by];
    const [low, high] = [bounds.min[axis], bounds.max[axis]];
    const step = STEPS_MM.find((mm) => (mm * length_px) / (high - low) >= TICK_APART_PX) ?? STEPS_MM.at(-1);
    for (let mm = Math.ceil(low / step) * step; mm <= high; mm += step) {
      const point = project(at[from].map((value, a) => (a === axis ? mm : value)));
      ticks.push([point, off(point, TICK_PX), [...EDGE, 0.9], 1.1]);
      labels.push([String(Math.round(mm)), off(point, 15), { px: 10.5, colour: "#aebbc8" }]);
    }
    labels.push([`${words[name]} mm`, off(half, 34), { px: 11.5, colour: css }]);
  });
  return { lines, ticks, labels };
}

/** Colours of saturation with their percent, and words, on a plate along the foot: {lines, labels} in px of the view. `title`: a text;
 * `ticks`: percents as text, evenly from the bar's begin to its end; `text`: broken into lines. */
export function legend({ title, ticks, text }, { width, height }) {
  const rows = broken(text, (width - 20) / LETTER_PX);
  const plate = PLATE_PX + ROW_PX * rows.length;
  const top = height - plate;
  const bar = Math.min(width - 20, LEGEND_PX);
  const [low, high] = OXYGEN_PERCENT;
  const colour = (px) => [...oxygenColour(low + ((high - low) * px) / bar), 1];
  const lines = Array.from({ length: Math.floor(bar) }, (_, px) => [[10.5 + px, top + 27], [10.5 + px, top + 35], colour(px), 1]); // prettier-ignore
  const marks = ticks.map((word, n) => [word, [10 + (bar * n) / (ticks.length - 1), top + 31], { px: 11, align: [n / (ticks.length - 1), 0.5] }]);
  const words = rows.map((row, n) => [row, [7, top + PLATE_PX - 2 + ROW_PX * (n + 0.5)], { px: 10.5, align: [0, 0.5] }]);
  lines.unshift([[0, top + plate / 2], [width, top + plate / 2], [0.02, 0.03, 0.04, 0.85], plate]);
  return { lines, labels: [[title, [7, top + 12], { px: 11.5, align: [0, 0.5] }], ...marks, ...words] };
}

function broken(text, letters) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if (lines.at(-1).length + word.length >= letters) lines.push("");
    lines.push(`${lines.pop()} ${word}`.trim());
  }
  return lines;
}

/** Which way is which, in the lower left corner: {lines, labels} in px of the view. */
export function triad(rotation, words) {
  const root = [108, 60]; // above left, where the box and its millimetres rarely are; the longest word fits beside it
  const tips = AXES.map((axis, n) => ({ ...axis, way: [rotation[0][n], -rotation[1][n]], near: rotation[2][n] }));
  tips.sort((a, b) => a.near - b.near); // what points to the viewer is drawn last
  const lines = tips.map(({ way, colour }) => [root, along([...root, 0], [...way, 0], TRIAD_PX), colour, 2.5]);
  const labels = tips.map(({ way, css, name }) => {
    const align = way.map((part) => (1 - Math.max(-1, Math.min(1, part * 1.6))) / 2);
    return [words[name], [root[0] + way[0] * (TRIAD_PX + 3), root[1] + way[1] * (TRIAD_PX + 3)], { px: 11, colour: css, align }];
  });
  return { lines, labels };
}
