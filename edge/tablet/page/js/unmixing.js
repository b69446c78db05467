// Oxygen saturation out of the bricks of two or more wavelengths: what edge/oxygenation.py computes, by its numbers, which the device tells. Pure.
import { FILLED, MEASURED, SIDE, VOXELS, channelOf, keyOf, placeOf } from "./bricks.js";

export const OXYGEN = 16; // the channel that is computed here: no message can name it
export const BETWEEN = 128; // in a texel: a voxel of it was interpolated
const ROUNDED = 0.5; // grey values: as far as a voxel may be from what was received
const WIDE = SIDE + 2;
const PARTS = [[7, 8, 0], [0, 8, 1], [0, 1, WIDE - 1]]; // prettier-ignore
const WHITE = 255; // what was brighter was cut to it

const sum = (values) => values.reduce((a, b) => a + b, 0);
const products = (a, b) => sum(a.map((value, n) => value * b[n]));

/** One channel's intensities of a brick and one voxel around it: 10^3. */
function around(bricks, channel, [x, y, z]) {
  const cube = new Uint8Array(WIDE ** 3);
  for (let part = 0; part < 27; part++) {
    const [i, j, k] = [part % 3, Math.floor(part / 3) % 3, Math.floor(part / 9)];
    const data = bricks.exact(keyOf(channel, x + i - 1, y + j - 1, z + k - 1));
    if (!data) continue;
    const [[fromI, toI, atI], [fromJ, toJ, atJ], [fromK, toK, atK]] = [PARTS[i], PARTS[j], PARTS[k]];
    for (let c = fromK; c < toK; c++) {
      for (let b = fromJ; b < toJ; b++) {
        const row = SIDE * (b + SIDE * c);
        cube.set(data.subarray(row + fromI, row + toI), atI + WIDE * (atJ + b - fromJ + WIDE * (atK + c - fromK)));
      }
    }
  }
  return cube;
}

function brightestNeighbour(cube, place) {
  const [i, j, k] = [place % SIDE, Math.floor(place / SIDE) % SIDE, Math.floor(place / SIDE / SIDE)];
  let most = 0;
  for (let c = k; c < k + 3; c++) for (let b = j; b < j + 3; b++) for (let a = i; a < i + 3; a++) most = Math.max(most, cube[a + WIDE * (b + WIDE * c)]);
  return most;
}

export class Unmixing {
  #columns; // extinction of oxygenated and of deoxygenated blood, by wavelength
  #inverse; // signals -> concentrations, by least squares

  /** `told`: the `oxygen` of the device's `light` message (docs/tablet-link.md). */
  constructor(told) {
    Object.assign(this, told); // channels, wavelengths_nm, extinction, threshold, edge_share, most_rounding
    const [oxy, deoxy] = (this.#columns = [0, 1].map((blood) => told.extinction.map((row) => row[blood])));
    const [a, b, c] = [products(oxy, oxy), products(oxy, deoxy), products(deoxy, deoxy)];
    const inverted = (one, other, own) => one.map((value, n) => (own * value - b * other[n]) / (a * c - b * b));
    this.#inverse = [inverted(oxy, deoxy, c), inverted(deoxy, oxy, a)];
  }

  /** {percent, rounding}: the saturation, and by how many points the rounding of the grey values may move it. */
  solve(signals) {
    let [oxy, deoxy] = this.#inverse.map((row) => products(row, signals));
    if (oxy < 0 || deoxy < 0) {
      const [one, other] = this.#columns.map((column) => {
        const along = Math.max(products(column, signals), 0);
        return { alone: along / products(column, column), gain: along ** 2 / products(column, column) };
      });
      [oxy, deoxy] = one.gain >= other.gain ? [one.alone, 0] : [0, other.alone];
    }
    const total = Math.max(oxy + deoxy, 1e-30);
    const share = oxy / total;
    const moves = this.#inverse[0].map((per, n) => Math.abs((1 - share) * per - share * this.#inverse[1][n]));
    return { percent: Math.round(100 * share), rounding: (100 * ROUNDED * sum(moves)) / total };
  }

  /** The bricks of a place: [{data, cube}] by wavelength, or null where one is not there in full detail. `cube` is made when it is asked for. */
  #bricks(bricks, place) {
    const keys = this.channels.map((channel) => keyOf(channel, ...place));
    if (keys.some((key) => !bricks.slots.has(key) || bricks.previews.has(key))) return null;
    return keys.map((key, n) => {
      let cube = null;
      return { data: bricks.exact(key), cube: () => (cube ??= around(bricks, this.channels[n], place)) };
    });
  }

  /** {percent, state, grey} of a voxel, or {why, nm, grey}: the first reason for which it has none. */
  #voxel(held, place) {
    const greys = held.map(({ data }) => data[place]);
    const states = held.map(({ data }) => data[VOXELS + place]);
    const none = (why, n) => ({ why, nm: this.wavelengths_nm[n], grey: greys[n] });
    for (const [why, fails] of [
      ["unseen", (n) => states[n] === 0],
      ["filled", (n) => states[n] === FILLED],
      ["clipped", (n) => greys[n] === WHITE],
      ["dim", (n) => greys[n] <= this.threshold],
      ["edge", (n) => greys[n] < this.edge_share * brightestNeighbour(held[n].cube(), place)],
    ]) {
      const at = greys.findIndex((_, n) => fails(n));
      if (at >= 0) return none(why, at);
    }
    const { percent, rounding } = this.solve(greys);
    if (rounding > this.most_rounding) return none("rounding", 0);
    return { percent, state: Math.max(...states), grey: sum(greys) / greys.length };
  }

  /** Of the voxel nearest to a point (mm): {percent, state} or {why, nm, grey}; `why` is one of unseen, coming, filled, clipped, dim, edge, rounding. */
  at(bricks, point_mm) {
    const voxel = point_mm.map((mm) => Math.round(mm / bricks.spacing_mm));
    const place = voxel.map((at) => Math.floor(at / SIDE));
    const held = this.#bricks(bricks, place);
    if (held) return this.#voxel(held, sum(voxel.map((at, axis) => (at & 7) * SIDE ** axis)));
    const missing = this.channels.findIndex((channel) => !bricks.slots.has(keyOf(channel, ...place)) && !bricks.previews.has(keyOf(channel, ...place)));
    return missing < 0 ? { why: "coming" } : { why: "unseen", nm: this.wavelengths_nm[missing] };
  }

  /** Texels of a brick in `to` at `at`, two bytes each: how bright its light is, and 1 + percent, + BETWEEN where it was interpolated; 0 where there
   * is no value. A texel of factor^3 voxels has the mean of those with a value. Answers the brightest. */
  texels(bricks, key, factor, to, at) {
    const cells = SIDE / factor;
    to.fill(0, at, at + 2 * cells ** 3);
    const held = this.#bricks(bricks, placeOf(key));
    if (!held) return 0;
    const found = new Map(); // cell -> [voxels, percent, brightest, state]
    for (let place = 0; place < VOXELS; place++) {
      if (held[0].data[place] <= this.threshold) continue;
      const { percent, state, grey } = this.#voxel(held, place);
      if (percent === undefined) continue;
      const [i, j, k] = [place % SIDE, Math.floor(place / SIDE) % SIDE, Math.floor(place / SIDE / SIDE)].map((n) => Math.floor(n / factor));
      const cell = i + cells * (j + cells * k);
      const [voxels, percents, brightest, worst] = found.get(cell) ?? [0, 0, 1, MEASURED];
      found.set(cell, [voxels + 1, percents + percent, Math.max(brightest, Math.round(grey)), Math.max(worst, state)]);
    }
    for (const [cell, [voxels, percents, brightest, state]] of found) {
      to[at + 2 * cell] = brightest;
      to[at + 2 * cell + 1] = 1 + Math.round(percents / voxels) + (state > MEASURED ? BETWEEN : 0);
    }
    return Math.max(0, ...[...found.values()].map(([, , brightest]) => brightest));
  }

  /** The bricks of saturation that these bricks have a part in: of their places and of those around, for the walls of vessels. */
  touched(bricks, keys) {
    const found = new Set();
    for (const key of keys) {
      if (!this.channels.includes(channelOf(key))) continue;
      const [x, y, z] = placeOf(key);
      for (let part = 0; part < 27; part++) {
        const place = [x - 1 + (part % 3), y - 1 + (Math.floor(part / 3) % 3), z - 1 + Math.floor(part / 9)];
        if (this.channels.every((channel) => bricks.slots.has(keyOf(channel, ...place)))) found.add(keyOf(OXYGEN, ...place));
      }
    }
    return found;
  }
}
