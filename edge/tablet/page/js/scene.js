// One canvas and one GL context for the 3D view and the three slices. Draws when something changed: coarse while it moves, fine when it rests.
import { Gestures } from "./gestures.js";
import { Labels, Lines } from "./gl/lines.js";
import { Marcher } from "./gl/marcher.js";
import { Program } from "./gl/program.js";
import { BrickTextures } from "./gl/textures.js";
import { Refused } from "./refused.js";
import { SLICE, SQUARE } from "./shaders.js";
import { PLANES, SliceView } from "./slices.js";
import { View3D } from "./view3d.js";

const REST_MS = 250; // after the last movement the fine picture is drawn
const COARSE = [0.5, 0.35, 0.25]; // of the resolution while it moves: the next where a drawing takes too long
const TOO_LONG_MS = 50;
const REST = 2; // times as long as the last drawing took, for everything else on the page: the live image above all
const MOST_REST_MS = 150; // a first drawing compiles its programs and takes seconds
const MAX_RATIO = 1.5; // device px per CSS px: more is not seen and costs a tablet its frames
const WORDS = { lateral: "lateral", axial: "axial", elevational: "elevational" };

export class Scene {
  oncross = () => {};
  ondrawn = () => {}; // what lies over the canvas is drawn again too
  told = ""; // at the crosshair: a value of that place
  still = false; // while films and pictures are made: no easing
  #moved = -Infinity;
  #asked = 0;
  #timer = 0;
  #light = 1;
  #cross = null; // follows the middle of the volume until somebody sets it
  #parts = null;
  #fence = null; // of the last drawing: the next one waits for it, and REST times as long
  #begun = 0;
  #free_at = 0;
  coarse = COARSE[0];

  /** `words`: names of the axes in the page's language; `limits`: see BrickTextures. */
  constructor(canvas, volume, { words = WORDS, limits = {} } = {}) {
    Object.assign(this, { canvas, volume, words, limits });
    this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.gl = canvas.getContext("webgl2", { antialias: false, alpha: false, depth: true, powerPreference: "high-performance" });
    if (!this.gl) throw new Error("this browser has no WebGL 2");
    this.view3d = new View3D(this);
    this.slices = PLANES.map((plane) => new SliceView(this, plane));
    this.views = [this.view3d, ...this.slices];
    this.gestures = new Gestures(canvas, (x, y) => this.views.find((view) => view.holds(x, y)) ?? null, () => this.keys ?? this.view3d);
    canvas.addEventListener("pointerdown", ({ offsetX, offsetY }) => (this.keys = this.views.find((view) => view.holds(offsetX, offsetY))));
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault(); // it shall come back: iOS takes it from pages in the background
      this.#parts = this.#fence = null;
    });
    canvas.addEventListener("webglcontextrestored", () => {
      this.#build();
      this.#parts.textures.refill();
      this.touch();
    });
    this.#build();
    this.heard = {
      epoch: () => {
        this.#cross = null;
        this.told = "";
        this.#parts?.textures.clear();
        this.view3d.clear();
        for (const slice of this.slices) slice.reset();
      },
      bricks: ({ detail }) => this.#parts?.textures.want(detail),
      bounds: () => this.view3d.fit(),
    };
    for (const [name, act] of Object.entries(this.heard)) volume.addEventListener(name, act);
  }

  get textures() {
    return this.#parts.textures;
  }

  /** The channel of light that is drawn; 0 for none. */
  set light(channel) {
    if (channel === this.#light) return;
    this.#light = channel;
    this.#parts?.textures.lit(channel);
    this.touch();
  }

  get cross_mm() {
    if (this.#cross) return this.#cross;
    const bounds = this.volume.bounds_mm;
    return bounds ? bounds.min.map((low, axis) => (low + bounds.max[axis]) / 2) : [0, 0, 0];
  }

  set cross_mm(point) {
    const bounds = this.volume.bounds_mm;
    this.#cross = bounds ? point.map((mm, axis) => Math.min(Math.max(mm, bounds.min[axis]), bounds.max[axis])) : [...point];
    this.told = ""; // it was of another place
    this.oncross(this.#cross);
    this.touch();
  }

  #build() {
    const { gl } = this;
    gl.enable(gl.SCISSOR_TEST);
    gl.clearColor(0, 0, 0, 1);
    const textures = new BrickTextures(gl, this.volume, () => this.invalidate(true), { ...this.limits, light: this.#light });
    this.#parts = { gl, textures, lines: new Lines(gl), labels: new Labels(gl), marcher: new Marcher(gl), slicer: new Program(gl, SQUARE, SLICE) };
  }

  touch() {
    for (const view of this.views) view.stale = true;
    this.invalidate(false);
  }

  /** Something must be drawn again; `moving`: and more will follow. */
  invalidate(moving) {
    if (moving) this.#moved = performance.now();
    if (!this.#asked) this.#asked = requestAnimationFrame(() => this.#frame());
  }

  resize() {
    this.touch();
  }

  #frame() {
    this.#asked = 0;
    if (!this.#parts) return;
    if (!this.#ready()) {
      this.#asked = requestAnimationFrame(() => this.#frame());
      return;
    }
    if (this.#parts.textures.pump()) for (const view of this.views) view.stale = true;
    const rests = performance.now() - this.#moved > REST_MS;
    this.#draw(rests);
    this.ondrawn();
    this.#begun = performance.now();
    this.#fence = this.gl.fenceSync(this.gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    this.gl.flush();
    if (this.#parts.textures.busy) this.invalidate(true);
    else if (!rests) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.invalidate(false), REST_MS + 10);
    }
  }

  /** The GPU has done what it was asked for, and has had its rest. */
  #ready() {
    const now = performance.now();
    if (this.#fence) {
      if (this.gl.getSyncParameter(this.#fence, this.gl.SYNC_STATUS) !== this.gl.SIGNALED && !this.gl.isContextLost()) return false;
      this.gl.deleteSync(this.#fence);
      this.#fence = null;
      const took = now - this.#begun;
      this.#free_at = now + Math.min(REST * took, MOST_REST_MS);
      const at = COARSE.indexOf(this.coarse);
      this.coarse = COARSE[Math.min(Math.max(at + (took > TOO_LONG_MS ? 1 : took < TOO_LONG_MS / 4 ? -1 : 0), 0), COARSE.length - 1)];
    }
    return now >= this.#free_at;
  }

  /** Everything at full resolution, now; answers the device px per CSS px. For pictures and tests. Refused while the browser has taken the GPU. */
  drawNow() {
    if (!this.#parts || this.gl.isContextLost()) throw new Refused("NO_GPU");
    this.still = true;
    for (const view of this.views) view.stale = true;
    const ratio = this.#draw(true);
    this.still = false;
    return ratio;
  }

  #draw(full) {
    const { canvas, gl } = this;
    const ratio = Math.min(devicePixelRatio || 1, MAX_RATIO);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.max(Math.round(side * ratio), 1));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.scissor(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    for (const view of this.views) if (view.rect && view.rect.width > 1 && view.rect.height > 1) view.draw(this.#parts, { ratio, full });
    return ratio;
  }

  destroy() {
    cancelAnimationFrame(this.#asked);
    clearTimeout(this.#timer);
    for (const [name, act] of Object.entries(this.heard)) this.volume.removeEventListener(name, act);
    this.gestures.destroy();
    this.#parts?.textures.destroy();
  }
}
