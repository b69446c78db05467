// The volume as the page holds it: sparse bricks of 8x8x8 voxels. No DOM, no GL: it lives in the worker and in tests.
import { crc32 } from "./crc32.js";

export const SIDE = 8;
export const VOXELS = 512;
export const [MEASURED, FILLED] = [1, 3]; // states of a voxel: 0 unseen, 2 interpolated
const BRICK = 2 * VOXELS; // bytes: intensities, then states
const CELLS = 64; // of a brick at half detail
const PAGE = 256; // bricks in one piece of memory: 256 KiB, so that a growing volume never copies itself
const CHANNEL_BITS = 15;
const MID = 32768;

/** One number for a brick's place. As numbers they are in order of (channel, z, y, x), which is the checksum's. */
export const keyOf = (channel, x, y, z) => ((channel * 65536 + z + MID) * 65536 + y + MID) * 65536 + x + MID;
export const channelOf = (key) => Math.floor(key / 2 ** 48);
export const placeOf = (key) => [
  (key % 65536) - MID,
  (Math.floor(key / 65536) % 65536) - MID,
  (Math.floor(key / 2 ** 32) % 65536) - MID,
];

/** `from` (intensities, then states of side^3) into `to` at `at`, each cell the brightest of its factor^3. Of two as bright, the one with the
 * higher state: black that was filled must not pass as black that was measured. */
export function reduce(from, side, factor, to, at) {
  const cells = side / factor;
  const voxels = side ** 3;
  const half = cells ** 3;
  to.fill(0, at, at + 2 * half);
  for (let place = 0; place < voxels; place++) {
    const i = Math.floor((place % side) / factor);
    const j = Math.floor((Math.floor(place / side) % side) / factor);
    const k = Math.floor(Math.floor(place / side / side) / factor);
    const cell = at + i + cells * (j + cells * k);
    const intensity = from[place];
    const state = from[voxels + place];
    if (intensity > to[cell] || (intensity === to[cell] && state > to[cell + half])) {
      to[cell] = intensity;
      to[cell + half] = state;
    }
  }
}

export class Bricks {
  constructor() {
    this.epoch({ epoch: -1, spacing_mm: 1 });
  }

  /** Forget everything. */
  epoch({ epoch, spacing_mm }) {
    this.number = epoch;
    this.spacing_mm = spacing_mm;
    this.slots = new Map(); // key -> place in the pages
    this.pages = [];
    this.previews = new Map(); // key -> 64 intensities, 64 states
    this.counts = [0, 0, 0, 0]; // voxels of channel 0 by state; [0] is not kept
    this.low = null; // the outermost voxels that are not empty
    this.high = null;
  }

  /** Applies a `V` or `S`; the keys that changed, or null where it belongs to another epoch. */
  apply({ type, number, flags, count, payload }) {
    if (number !== this.number) return null;
    const channel = flags & CHANNEL_BITS;
    const fixed = count * (type === "V" ? 6 + CELLS : 6 + 2 * CELLS);
    if (payload.length < fixed) throw new RangeError(`${count} bricks do not fit into ${payload.length} bytes`);
    const places = new Int16Array(payload.slice(0, 6 * count).buffer);
    const keys = Float64Array.from({ length: count }, (_, n) => keyOf(channel, ...places.subarray(3 * n, 3 * n + 3)));
    if (type === "V") this.#exact(keys, channel, payload);
    else this.#preview(keys, payload);
    return keys;
  }

  #exact(keys, channel, payload) {
    const masks = payload.subarray(6 * keys.length, (6 + CELLS) * keys.length);
    let masked = 0;
    for (let bits of masks) for (; bits; bits &= bits - 1) masked++;
    const first = (6 + CELLS) * keys.length;
    if (payload.length !== first + 2 * masked) throw new RangeError(`${masked} masked voxels, but ${payload.length - first} bytes of values`);
    for (let i = first + masked; i < payload.length; i++) if (payload[i] > 3) throw new RangeError(`state ${payload[i]} is not known`);
    let from = first;
    keys.forEach((key, n) => {
      const data = this.exact(key) ?? this.#added(key);
      this.previews.delete(key);
      for (let byte = 0; byte < CELLS; byte++) {
        const bits = masks[n * CELLS + byte];
        for (let bit = 0; bits >> bit; bit++) {
          if (!((bits >> bit) & 1)) continue;
          const place = 8 * byte + bit;
          const state = payload[from + masked];
          if (channel === 0) {
            this.counts[data[VOXELS + place]]--;
            this.counts[state]++;
          }
          data[place] = payload[from++];
          data[VOXELS + place] = state;
        }
      }
      this.#grow(key, data, SIDE);
    });
  }

  #preview(keys, payload) {
    if (payload.length !== (6 + 2 * CELLS) * keys.length) throw new RangeError(`${keys.length} bricks at half detail in ${payload.length} bytes`);
    const states = (6 + CELLS) * keys.length;
    keys.forEach((key, n) => {
      const data = new Uint8Array(2 * CELLS);
      data.set(payload.subarray(6 * keys.length + n * CELLS, 6 * keys.length + (n + 1) * CELLS));
      data.set(payload.subarray(states + n * CELLS, states + (n + 1) * CELLS), CELLS);
      this.previews.set(key, data);
      this.#grow(key, data, SIDE / 2);
    });
  }

  /** The 1024 bytes of a brick, or undefined. */
  exact(key) {
    const slot = this.slots.get(key);
    return slot === undefined ? undefined : this.pages[Math.floor(slot / PAGE)].subarray((slot % PAGE) * BRICK, ((slot % PAGE) + 1) * BRICK);
  }

  #added(key) {
    const slot = this.slots.size;
    if (slot % PAGE === 0) this.pages.push(new Uint8Array(PAGE * BRICK));
    this.slots.set(key, slot);
    return this.exact(key);
  }

  #grow(key, data, side) {
    const step = SIDE / side;
    const first = placeOf(key).map((at) => at * SIDE);
    if (this.low && first.every((at, axis) => at >= this.low[axis] && at + SIDE - 1 <= this.high[axis])) return;
    for (let place = 0; place < side ** 3; place++) {
      if (!data[side ** 3 + place]) continue;
      const within = [place % side, Math.floor(place / side) % side, Math.floor(place / side / side)];
      const from = within.map((at, axis) => first[axis] + at * step);
      const to = from.map((at) => at + step - 1);
      this.low = this.low ? this.low.map((at, axis) => Math.min(at, from[axis])) : from;
      this.high = this.high ? this.high.map((at, axis) => Math.max(at, to[axis])) : to;
    }
  }

  /** The outer faces of what holds a voxel, in mm, or null. It only grows within an epoch. */
  get bounds_mm() {
    if (!this.low) return null;
    return { min: this.low.map((at) => (at - 0.5) * this.spacing_mm), max: this.high.map((at) => (at + 0.5) * this.spacing_mm) };
  }

  /** All keys that can be shown, exact ones and previews. */
  keys() {
    return Float64Array.from(new Set([...this.slots.keys(), ...this.previews.keys()]));
  }

  /** What to show of a brick, in `to` at `at`: (8 / factor)^3 intensities, then as many states. A preview hides what is exact but older. */
  shown(key, factor, to, at) {
    const preview = this.previews.get(key);
    if (!preview) {
      const data = this.exact(key);
      if (data && factor === 1) to.set(data, at);
      else if (data) reduce(data, SIDE, factor, to, at);
    } else if (factor > 1) reduce(preview, SIDE / 2, factor / 2, to, at);
    else {
      for (let place = 0; place < VOXELS; place++) {
        const cell = ((place & 7) >> 1) + 4 * (((place >> 3) & 7) >> 1) + 16 * (place >> 7);
        to[at + place] = preview[cell];
        to[at + VOXELS + place] = preview[CELLS + cell];
      }
    }
  }

  /** CRC-32 over the exact bricks that hold a voxel, as the device counts it; previews have no part in it. */
  checksum() {
    const head = new DataView(new ArrayBuffer(13));
    let crc = 0;
    let bricks = 0;
    for (const key of Float64Array.from(this.slots.keys()).sort()) {
      const data = this.exact(key);
      if (!data.subarray(VOXELS).some(Boolean)) continue;
      head.setUint8(0, channelOf(key));
      placeOf(key).forEach((at, axis) => head.setInt32(1 + 4 * axis, at, true));
      crc = crc32(data, crc32(new Uint8Array(head.buffer), crc));
      bricks++;
    }
    return { crc32: crc, bricks };
  }

  get bytes() {
    return this.pages.length * PAGE * BRICK + this.previews.size * 2 * CELLS;
  }
}
