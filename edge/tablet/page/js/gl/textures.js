// The bricks on the GPU: 3D textures over the bounding box of the bricks, which grow with it, and a grid of what can be skipped.
import { SIDE, channelOf, placeOf } from "../bricks.js";
import { OXYGEN } from "../unmixing.js";

const PER_FRAME = 256; // bricks uploaded between two frames: at most 3 ms, so that fingers stay smooth
const SLACK = 4; // bricks to spare when a side grows, or half of what there is
const BUDGET = 96 << 20; // voxels of one texture: tablets give a page a few hundred MB
const KINDS = ["voxels", "states", "photo"]; // intensity and state of channel 0, intensity of the channel of light that is shown, or saturation (unmixing.js)

export class BrickTextures {
  #gl;
  #volume;
  #limits;
  #fresh = new Set(); // keys that changed: uploaded first
  #stale = new Set(); // keys of a refill
  #fetched = null;
  #fetching = false;
  #finding = 0; // questions which bricks there are
  #most; // [brick][channel] for the skip grid, with what the neighbours' edges bleed in

  /** `onready()`: there is something to upload; call `pump`. */
  constructor(gl, volume, onready, { budget = BUDGET, maxSide = Infinity, light = 1 } = {}) {
    this.#gl = gl;
    this.#volume = volume;
    this.onready = onready;
    this.light = light;
    this.#limits = { budget, side: Math.min(maxSide, gl.getParameter(gl.MAX_3D_TEXTURE_SIZE)) };
    this.linear = this.#sampler(gl.LINEAR);
    this.clear();
  }

  clear() {
    for (const kind of [...KINDS, "skip"]) this.#gl.deleteTexture(this[kind] ?? null);
    for (const kind of [...KINDS, "skip"]) this[kind] = this.#texture(kind, [1, 1, 1]);
    this.factor = 1;
    this.origin = null; // of the textures, in bricks
    this.size = [0, 0, 0]; // in bricks
    this.low = null; // of the bricks that came
    this.high = null;
    this.photoacoustic = false;
    this.#fresh.clear();
    this.#stale.clear();
    this.#fetched = null;
    this.#account();
  }

  /** Texels = mm * scale + offset; the middle of texel 0 is at 0.5. */
  get placement() {
    const scale = 1 / (this.#volume.spacing_mm * this.factor);
    const offset = (this.origin ?? [0, 0, 0]).map((brick) => (0.5 - SIDE * brick) / this.factor);
    return { scale, offset, dims: this.size.map((side) => Math.max((side * SIDE) / this.factor, 1)), brick: SIDE / this.factor };
  }

  get busy() {
    return this.#fetching || this.#finding > 0 || this.#fetched !== null || this.#fresh.size + this.#stale.size > 0;
  }

  /** These bricks changed. */
  want(keys) {
    if (!keys.length) return;
    let [low, high] = [this.low ?? placeOf(keys[0]), this.high ?? placeOf(keys[0])];
    for (const key of keys) {
      const place = placeOf(key);
      low = low.map((at, axis) => Math.min(at, place[axis]));
      high = high.map((at, axis) => Math.max(at, place[axis]));
      if (!this.#drawn(key)) continue; // other light may be asked for: there is room for it
      this.#fresh.add(key);
      if (channelOf(key)) this.photoacoustic = true;
    }
    const held = [this.low, this.high];
    [this.low, this.high] = [low, high];
    const inside = this.origin && low.every((at, axis) => at >= this.origin[axis] && high[axis] < this.origin[axis] + this.size[axis]);
    if (!inside && !this.#allocate()) {
      [this.low, this.high] = held; // coordinates so far apart are no volume: what is shown stays as it was
      for (const key of keys) this.#fresh.delete(key);
    } else if (this.photoacoustic && !this.photo.dims.every((side, axis) => side === this.voxels.dims[axis])) this.#renew("photo");
    this.onready();
  }

  /** Saturation is shown instead of light. */
  get oxygen() {
    return this.photoacoustic && this.light === OXYGEN;
  }

  #drawn(key) {
    const channel = channelOf(key);
    return channel === 0 || channel === this.light;
  }

  /** This channel of light instead of the one before; 0 for none. Its bricks come from the worker's store. */
  async lit(channel) {
    this.light = channel;
    this.photoacoustic = false;
    this.#renew("photo");
    if (!this.origin) return;
    for (let at = 1; at < this.#most.length; at += 2) this.#most[at] = 0;
    this.#sendSkip();
    for (const set of [this.#fresh, this.#stale]) for (const key of set) if (!this.#drawn(key)) set.delete(key);
    const { number } = this.#volume;
    this.#finding++;
    const keys = await this.#volume.keys();
    this.#finding--;
    if (number === this.#volume.number && channel && channel === this.light) this.want(keys.filter((key) => channelOf(key) === channel));
  }

  /** Everything again, from the worker's store (after a lost context, or at another detail). */
  async refill() {
    const number = this.#volume.number;
    this.#finding++;
    const keys = await this.#volume.keys();
    this.#finding--;
    if (number !== this.#volume.number) return;
    if (!this.origin) this.want(keys);
    else for (const key of keys) if (this.#drawn(key)) this.#stale.add(key);
    this.onready();
  }

  /** Uploads what was fetched and asks for the next; true if the textures changed. Once per animation frame. */
  pump() {
    const fetched = this.#fetched;
    this.#fetched = null;
    if (fetched && fetched.factor !== this.factor) this.want(fetched.keys); // the detail changed on the way
    else if (fetched) this.upload(fetched);
    if (!this.#fetching && this.#fresh.size + this.#stale.size) this.#fetch();
    return fetched !== null;
  }

  async #fetch() {
    const keys = [];
    for (const set of [this.#fresh, this.#stale]) {
      for (const key of set) {
        if (keys.length === PER_FRAME) break;
        set.delete(key);
        keys.push(key);
      }
    }
    const { factor } = this;
    const { number } = this.#volume;
    this.#fetching = true;
    const fetched = await this.#volume.fetch(Float64Array.from(keys), factor).catch(() => null);
    this.#fetching = false;
    if (fetched && number === this.#volume.number) this.#fetched = { ...fetched, factor };
    this.onready();
  }

  upload({ keys, data, most, size }) {
    const gl = this.#gl;
    const side = SIDE / this.factor;
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    const put = (texture, place, at, format = gl.RED) => {
      gl.bindTexture(gl.TEXTURE_3D, texture);
      const [x, y, z] = place.map((brick, axis) => (brick - this.origin[axis]) * side);
      gl.texSubImage3D(gl.TEXTURE_3D, 0, x, y, z, side, side, side, format, gl.UNSIGNED_BYTE, data, at);
    };
    keys.forEach((key, n) => {
      const channel = channelOf(key);
      const place = placeOf(key);
      if (!this.#drawn(key) || (channel && !this.photoacoustic)) return; // light that was shown when it was asked for
      put(channel ? this.photo : this.voxels, place, n * size, channel === OXYGEN ? gl.RG : gl.RED);
      if (!channel) put(this.states, place, n * size + size / 2);
      this.#mark(place, channel && 1, most[n]);
    });
    this.#sendSkip();
  }

  #sendSkip() {
    const gl = this.#gl;
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1); // else rows of an odd number of bricks would be padded
    gl.bindTexture(gl.TEXTURE_3D, this.skip);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, 0, ...this.size, gl.RG, gl.UNSIGNED_BYTE, this.#most);
  }

  /** A sample at a brick's edge sees half a voxel of its neighbour: the neighbours must not be skipped either. */
  #mark(place, channel, most) {
    const [x, y, z] = place.map((at, axis) => at - this.origin[axis]);
    for (let k = Math.max(z - 1, 0); k <= Math.min(z + 1, this.size[2] - 1); k++) {
      for (let j = Math.max(y - 1, 0); j <= Math.min(y + 1, this.size[1] - 1); j++) {
        for (let i = Math.max(x - 1, 0); i <= Math.min(x + 1, this.size[0] - 1); i++) {
          const at = 2 * (i + this.size[0] * (j + this.size[1] * k)) + channel;
          if (most > this.#most[at]) this.#most[at] = most;
        }
      }
    }
  }

  #fits(size, factor) {
    const sides = size.map((side) => (side * SIDE) / factor);
    return Math.max(...sides) <= this.#limits.side && sides[0] * sides[1] * sides[2] <= this.#limits.budget;
  }

  /** New textures for low..high (false: there are none so large): with slack where it grew, without where that does not fit, at half the detail where nothing else does. */
  #allocate() {
    const before = { origin: this.origin, size: this.size, factor: this.factor, most: this.#most };
    const slack = this.size.map((side) => Math.max(SLACK, side >> 1));
    const below = this.low.map((at, axis) => Math.min(before.origin?.[axis] ?? Infinity, at >= before.origin?.[axis] ? Infinity : at - slack[axis], at));
    const above = this.high.map((at, axis) => {
      const end = before.origin ? before.origin[axis] + before.size[axis] : -Infinity;
      return at < end ? end : at + 1 + slack[axis];
    });
    const boxes = [[below, above.map((at, axis) => at - below[axis])], [this.low, this.high.map((at, axis) => at + 1 - this.low[axis])]]; // prettier-ignore
    let fitting = null;
    while (!(fitting = boxes.find(([, size]) => this.#fits(size, this.factor))) && this.factor < SIDE) this.factor *= 2;
    if (!fitting) {
      this.factor = before.factor;
      return false;
    }
    [this.origin, this.size] = fitting;
    this.#most = new Uint8Array(2 * this.size[0] * this.size[1] * this.size[2]);
    const shift = this.origin.map((at, axis) => (before.origin?.[axis] ?? at) - at);
    const holds = shift.every((bricks, axis) => bricks >= 0 && bricks + before.size[axis] <= this.size[axis]);
    const moves = before.origin && this.factor === before.factor && holds;
    for (const kind of KINDS) this.#renew(kind, moves ? shift.map((bricks) => (bricks * SIDE) / this.factor) : null);
    if (moves) this.#copyMost(before, shift);
    else if (before.origin) this.refill();
    this.#gl.deleteTexture(this.skip);
    this.skip = this.#texture("skip", this.size);
    this.#sendSkip();
    this.#account();
    return true;
  }

  #copyMost({ size, most }, shift) {
    for (let k = 0; k < size[2]; k++) {
      for (let j = 0; j < size[1]; j++) {
        const from = 2 * size[0] * (j + size[1] * k);
        const to = 2 * (shift[0] + this.size[0] * (j + shift[1] + this.size[1] * (k + shift[2])));
        this.#most.set(most.subarray(from, from + 2 * size[0]), to);
      }
    }
  }

  /** The texture of a kind at the size of now; with `shift` its old contents move along on the GPU, slice by slice, and nothing flickers. */
  #renew(kind, shift = null) {
    const gl = this.#gl;
    const old = this[kind];
    const unused = kind === "photo" && !this.photoacoustic;
    const dims = unused ? [1, 1, 1] : this.placement.dims;
    this[kind] = this.#texture(kind, dims);
    if (shift && !unused) {
      const frame = gl.createFramebuffer();
      gl.bindFramebuffer(gl.READ_FRAMEBUFFER, frame);
      for (let z = 0; z < old.dims[2]; z++) {
        gl.framebufferTextureLayer(gl.READ_FRAMEBUFFER, gl.COLOR_ATTACHMENT0, old, 0, z);
        gl.copyTexSubImage3D(gl.TEXTURE_3D, 0, shift[0], shift[1], shift[2] + z, 0, 0, old.dims[0], old.dims[1]);
      }
      gl.bindFramebuffer(gl.READ_FRAMEBUFFER, null);
      gl.deleteFramebuffer(frame);
    }
    gl.deleteTexture(old);
    this.#account();
  }

  #texture(kind, dims) {
    const gl = this.#gl;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_3D, texture);
    texture.parts = kind === "skip" || (kind === "photo" && this.light === OXYGEN) ? 2 : 1;
    gl.texStorage3D(gl.TEXTURE_3D, 1, texture.parts === 2 ? gl.RG8 : gl.R8, ...dims);
    gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    for (const side of ["S", "T", "R"]) gl.texParameteri(gl.TEXTURE_3D, gl[`TEXTURE_WRAP_${side}`], gl.CLAMP_TO_EDGE);
    texture.dims = dims;
    return texture;
  }

  #sampler(filter) {
    const gl = this.#gl;
    const sampler = gl.createSampler();
    for (const name of ["MIN", "MAG"]) gl.samplerParameteri(sampler, gl[`TEXTURE_${name}_FILTER`], filter);
    for (const side of ["S", "T", "R"]) gl.samplerParameteri(sampler, gl[`TEXTURE_WRAP_${side}`], gl.CLAMP_TO_EDGE);
    return sampler;
  }

  #account() {
    const bytes = ({ dims, parts }) => dims[0] * dims[1] * dims[2] * parts;
    this.#volume.texture_bytes = [...KINDS, "skip"].reduce((sum, kind) => sum + bytes(this[kind]), 0);
    this.#volume.reduced = this.factor > 1;
  }

  /** Binds the textures to units 0..3: voxels (trilinear), states, skip, photo (trilinear). */
  bind() {
    const gl = this.#gl;
    for (const [unit, texture, sampler] of [[0, this.voxels, this.linear], [1, this.states, null], [2, this.skip, null], [3, this.photo, this.linear]]) { // prettier-ignore
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_3D, texture);
      gl.bindSampler(unit, sampler);
    }
  }

  destroy() {
    for (const kind of [...KINDS, "skip"]) this.#gl.deleteTexture(this[kind]);
    this.#gl.deleteSampler(this.linear);
  }
}
