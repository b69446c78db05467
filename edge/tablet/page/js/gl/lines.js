// Lines and words over the voxels: batches of lines with a width, and texts as small textures.
import { LABEL, LABEL_COLOUR, LINE, LINE_COLOUR } from "../shaders.js";
import { Program } from "./program.js";

const FLOATS = 11; // from, to, colour, width
const FONT = "system-ui, -apple-system, 'Noto Sans', sans-serif";
const KEPT = 200; // texts; the ticks of a growing box ask for new ones all the time

/** Pixels of a view, from its top left, to clip: the matrix for flat lines. */
export const flat = ({ width, height }) => new Float32Array([2 / width, 0, 0, 0, 0, -2 / height, 0, 0, 0, 0, 1, 0, -1, 1, 0, 1]);

export class Lines {
  #gl;
  #program;
  #buffer;
  #array;

  constructor(gl) {
    this.#gl = gl;
    this.#program = new Program(gl, LINE, LINE_COLOUR);
    this.#buffer = gl.createBuffer();
    this.#array = gl.createVertexArray();
    gl.bindVertexArray(this.#array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffer);
    [3, 3, 4, 1].reduce((at, size, index) => {
      gl.enableVertexAttribArray(index);
      gl.vertexAttribPointer(index, size, gl.FLOAT, false, 4 * FLOATS, 4 * at);
      gl.vertexAttribDivisor(index, 1);
      return at + size;
    }, 0);
    gl.bindVertexArray(null);
  }

  /** `lines`: [[from, to, [r, g, b, a], width in px], ...]. `hidden`: how much is left of those behind what was drawn (0..1), or null to
   * draw without depth. */
  draw(lines, { matrix, size, hidden = null }) {
    const gl = this.#gl;
    const data = new Float32Array(lines.length * FLOATS);
    lines.forEach(([from, to, colour, width], n) => data.set([from[0], from[1], from[2] ?? 0, to[0], to[1], to[2] ?? 0, ...colour, width], n * FLOATS));
    gl.bindVertexArray(this.#array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STREAM_DRAW);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    const pass = (uFaint) => {
      this.#program.use({ uMatrix: matrix, uSize: [size.width, size.height], uFaint });
      gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, lines.length);
    };
    if (hidden === null) pass(1);
    else {
      gl.enable(gl.DEPTH_TEST);
      gl.depthMask(false);
      gl.depthFunc(gl.LEQUAL);
      pass(1);
      gl.depthFunc(gl.GREATER);
      pass(hidden);
      gl.depthMask(true);
      gl.disable(gl.DEPTH_TEST);
    }
    gl.disable(gl.BLEND);
    gl.bindVertexArray(null);
  }
}

export class Labels {
  #gl;
  #program;
  #texts = new Map();
  #ratio = 1;

  constructor(gl) {
    this.#gl = gl;
    this.#program = new Program(gl, LABEL, LABEL_COLOUR);
  }

  #text(text, px, colour, ratio) {
    if (ratio !== this.#ratio) this.#forget(0);
    this.#ratio = ratio;
    const name = `${px} ${colour} ${text}`;
    const known = this.#texts.get(name);
    if (known) {
      this.#texts.delete(name); // to the end: the first of the map is the one that was not asked for the longest
      this.#texts.set(name, known);
      return known;
    }
    const gl = this.#gl;
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    context.font = `600 ${px * ratio}px ${FONT}`;
    const width = Math.ceil(context.measureText(text).width + 6 * ratio);
    const height = Math.ceil((px + 8) * ratio);
    Object.assign(context.canvas, { width, height });
    Object.assign(context, { font: `600 ${px * ratio}px ${FONT}`, textBaseline: "middle", lineJoin: "round", lineWidth: 3.5 * ratio });
    Object.assign(context, { strokeStyle: "rgba(4, 6, 10, 0.85)", fillStyle: colour }); // a dark rim: it stays readable on bright tissue
    context.strokeText(text, 3 * ratio, height / 2);
    context.fillText(text, 3 * ratio, height / 2);
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, true);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, context.canvas);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    for (const [name, value] of [["MIN_FILTER", gl.LINEAR], ["MAG_FILTER", gl.LINEAR], ["WRAP_S", gl.CLAMP_TO_EDGE], ["WRAP_T", gl.CLAMP_TO_EDGE]]) { // prettier-ignore
      gl.texParameteri(gl.TEXTURE_2D, gl[`TEXTURE_${name}`], value);
    }
    const made = { texture, width: width / ratio, height: height / ratio };
    this.#texts.set(name, made);
    this.#forget(KEPT);
    return made;
  }

  #forget(keep) {
    for (const [name, { texture }] of this.#texts) {
      if (this.#texts.size <= keep) return;
      this.#gl.deleteTexture(texture);
      this.#texts.delete(name);
    }
  }

  /** `labels`: [[text, [x, y] px, {px, colour, align: [0..1, 0..1] which point of the text lies there}], ...] */
  draw(labels, { size, ratio }) {
    const gl = this.#gl;
    gl.activeTexture(gl.TEXTURE0 + 6); // a unit that nothing else uses
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    for (const [text, at, { px = 12, colour = "#dfe7ef", align = [0.5, 0.5] } = {}] of labels) {
      const { texture, width, height } = this.#text(text, px, colour, ratio);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      const inside = at[0] >= 0 && at[0] <= size.width && at[1] >= 0 && at[1] <= size.height;
      const far = inside ? Math.max(Math.min(at[0] - align[0] * width, size.width - width), 0) : at[0] - align[0] * width; // no word is cut off
      const left = Math.round(far * ratio) / ratio; // on whole pixels: it stays sharp
      const top = Math.round((at[1] - align[1] * height) * ratio) / ratio;
      this.#program.use({ uSize: [size.width, size.height], uAt: [left, top], uExtent: [width, height], uText: 6 });
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    }
    gl.disable(gl.BLEND);
  }
}
