// The renderer without the page around it: what tests/viewer.py asks for, over `globalThis.viewer`.
import * as bricks from "./page/js/bricks.js";
import { crc32 } from "./page/js/crc32.js";
import { setLanguage } from "./page/js/i18n.js";
import { lz4 } from "./page/js/lz4.js";
import { MeasureTools } from "./page/js/measure_tools.js";
import * as measuring from "./page/js/measuring.js";
import { PRESETS } from "./page/js/presets.js";
import { Scene } from "./page/js/scene.js";
import { Volume } from "./page/js/volume.js";

const HALF = 192;
const RECTS = [[0, 0], [1, 0], [0, 1], [1, 1]].map(([x, y]) => ({ x: x * HALF, y: y * HALF, width: HALF, height: HALF }));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
export async function base64(blob) {
  const url = await new Promise((resolve) => Object.assign(new FileReader(), { onload: ({ target }) => resolve(target.result) }).readAsDataURL(blob));
  return url.split(",")[1];
}

/** How many GL objects of each kind are there: made and not deleted. */
function counted(gl) {
  const alive = {};
  for (const kind of ["Texture", "Framebuffer", "Buffer", "Sampler", "Program"]) {
    const things = new Set();
    const [make, drop] = [gl[`create${kind}`].bind(gl), gl[`delete${kind}`].bind(gl)];
    gl[`create${kind}`] = () => {
      const made = make();
      things.add(made);
      return made;
    };
    gl[`delete${kind}`] = (thing) => {
      things.delete(thing);
      drop(thing);
    };
    Object.defineProperty(alive, kind, { get: () => things.size, enumerable: true });
  }
  return alive;
}

export const viewer = {
  errors: [], // that nobody caught
  ...{ bricks, bytes, base64, crc32, lz4, measuring, pause, PRESETS },

  /** A new canvas with an empty volume: 3D above left, the three slices to its right and below. */
  open(limits = {}) {
    this.scene?.destroy();
    this.volume?.destroy();
    const canvas = document.createElement("canvas");
    document.body.replaceChildren(canvas);
    this.alive = counted(canvas.getContext("webgl2", { antialias: false, alpha: false, depth: true }));
    this.volume = new Volume();
    this.scene = new Scene(canvas, this.volume, { limits });
    this.scene.views.forEach((view, n) => (view.rect = RECTS[n]));
    Object.assign(this.scene.view3d, { box: false, triad: false, planes: false });
    this.acked = [];
    this.refused = [];
    this.volume.onack = (type, seq) => this.acked.push(`${type}${seq}`);
    this.volume.addEventListener("refused", ({ detail }) => this.refused.push(detail));
  },

  /** Hands these messages (base64) on, and waits until each was acknowledged or refused. */
  async take(messages) {
    const until = this.acked.length + this.refused.length + messages.length;
    for (const message of messages) this.volume.binary(bytes(message).buffer);
    while (this.acked.length + this.refused.length < until) await pause(2);
  },

  /** The browser takes the GPU away, and gives it back after `meanwhile`. */
  async withoutGpu(meanwhile = () => {}) {
    const { canvas, gl } = this.scene;
    const gone = gl.getExtension("WEBGL_lose_context");
    const event = (name) => new Promise((resolve) => canvas.addEventListener(name, resolve, { once: true }));
    const lost = event("webglcontextlost");
    gone.loseContext();
    await lost;
    await pause(50);
    const answer = await meanwhile();
    const back = event("webglcontextrestored");
    gone.restoreContext();
    await back;
    await pause(50);
    return answer;
  },

  /** Everything is on the GPU. */
  async settled() {
    while (this.scene.textures.busy) await pause(5);
  },

  /** One sweep: an epoch that grows in stages (messages of any epoch), then another that is empty; answers what there was at the end of each. */
  async sweep(epoch, stages) {
    const held = async () => ({ ...(await this.volume.memory()), ...this.alive });
    const begin = () => this.volume.epoch({ epoch: epoch++, spacing_mm: 0.5, source: "test" });
    begin();
    for (const stage of stages) {
      const until = this.acked.length + stage.length;
      for (const message of stage) {
        const data = bytes(message);
        new DataView(data.buffer).setBigUint64(8, BigInt(this.volume.number), true);
        this.volume.binary(data.buffer);
      }
      while (this.acked.length < until) await pause(2);
      await this.settled();
    }
    this.scene.drawNow();
    const full = await held();
    begin();
    this.acked.length = 0;
    return [full, await held()];
  },

  /** Measuring tools over the canvas, as the page has them. */
  async tools() {
    await setLanguage("en");
    this.toolsRefused = [];
    const onrefused = ({ error }) => this.toolsRefused.push(error);
    this.measured = new MeasureTools(this.scene, { onchange: () => {}, onrefused, known: () => ({ path: [], spacing_mm: this.volume.spacing_mm }) });
    Object.assign(this.measured.svg.style, { position: "absolute", left: 0, top: 0, width: "100%", height: "100%" });
    document.body.append(this.measured.svg);
  },

  async touch(x, y, element = this.measured.svg) {
    const where = { clientX: x, clientY: y, bubbles: true, cancelable: true };
    element.dispatchEvent(new PointerEvent("pointerdown", where));
    await pause(30);
  },

  async picture() {
    await this.settled();
    this.scene.drawNow();
    return this.scene.canvas.toDataURL("image/png").split(",")[1];
  },
};
addEventListener("error", ({ message }) => viewer.errors.push(message));
addEventListener("unhandledrejection", ({ reason }) => viewer.errors.push(String(reason)));
globalThis.viewer = viewer;
