// Numbers out of the bricks: what lies in a box, what lies at a point. They see what is shown: a preview where no exact brick is.
import { SIDE, VOXELS, channelOf, keyOf, placeOf } from "./bricks.js";

const NAMES = [null, "measured", "interpolated", "filled"];

/** The voxels of a box (mm) that are not empty and at least `threshold` bright. `previews`: how many bricks of it are only there at half
 * detail, where the brightest of eight voxels stands for all: the volume is then too large. */
export function region(bricks, { min_mm, max_mm, threshold, channel = 0 }) {
  const low = min_mm.map((mm) => Math.ceil(mm / bricks.spacing_mm - 1e-6));
  const high = max_mm.map((mm) => Math.floor(mm / bricks.spacing_mm + 1e-6));
  const found = [0, 0, 0, 0];
  const data = new Uint8Array(2 * VOXELS);
  let previews = 0;
  for (const key of bricks.keys()) {
    const first = placeOf(key).map((at) => at * SIDE);
    if (channelOf(key) !== channel || first.some((at, axis) => at > high[axis] || at + SIDE <= low[axis])) continue;
    bricks.shown(key, 1, data, 0);
    previews += bricks.previews.has(key);
    const from = first.map((at, axis) => Math.max(low[axis] - at, 0));
    const to = first.map((at, axis) => Math.min(high[axis] - at, SIDE - 1));
    for (let k = from[2]; k <= to[2]; k++) {
      for (let j = from[1]; j <= to[1]; j++) {
        for (let place = from[0] + 8 * j + 64 * k; place <= to[0] + 8 * j + 64 * k; place++) {
          if (data[place] >= threshold) found[data[VOXELS + place]]++;
        }
      }
    }
  }
  const voxels = found[1] + found[2] + found[3];
  const by_state = Object.fromEntries(NAMES.map((name, state) => [name, found[state]]).slice(1));
  return { voxels, volume_mm3: voxels * bricks.spacing_mm ** 3, by_state, previews };
}

/** [{intensity, state}] at points (mm): the state of the nearest voxel, and the intensity between those of the eight around that are not
 * empty (space that was never scanned is not black and must not darken its neighbours). */
export function samples(bricks, points_mm, channel = 0) {
  const cache = new Map();
  const brickAt = (key) => {
    if (!cache.has(key)) {
      const there = bricks.slots.has(key) || bricks.previews.has(key);
      cache.set(key, there ? new Uint8Array(2 * VOXELS) : null);
      if (there) bricks.shown(key, 1, cache.get(key), 0);
    }
    return cache.get(key);
  };
  const voxel = (i, j, k) => {
    const data = brickAt(keyOf(channel, Math.floor(i / 8), Math.floor(j / 8), Math.floor(k / 8)));
    const place = (i & 7) + 8 * (j & 7) + 64 * (k & 7);
    return data ? [data[place], data[VOXELS + place]] : [0, 0];
  };
  return points_mm.map((point) => {
    const at = point.map((mm) => mm / bricks.spacing_mm);
    const [, state] = voxel(...at.map(Math.round));
    if (!state) return { intensity: 0, state };
    const base = at.map(Math.floor);
    let weight = 0;
    let sum = 0;
    for (let corner = 0; corner < 8; corner++) {
      const off = [corner & 1, (corner >> 1) & 1, corner >> 2];
      const [intensity, known] = voxel(...base.map((b, axis) => b + off[axis]));
      if (!known) continue;
      const share = off.reduce((product, o, axis) => product * (o ? at[axis] - base[axis] : 1 - at[axis] + base[axis]), 1);
      weight += share;
      sum += share * intensity;
    }
    return { intensity: sum / weight, state };
  });
}
