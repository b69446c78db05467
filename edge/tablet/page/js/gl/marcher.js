// Runs the ray-marching programs into a texture of colour and depth, and lays that over the background.
import { cross, dot, unit } from "../camera.js";
import { firstSeen } from "../presets.js";
import { COMPOSITE, RAYS, SQUARE, march } from "../shaders.js";
import { Program } from "./program.js";

const IMAGE_UNIT = 4;
const TABLE_UNIT = 5;
const COLOUR_UNIT = 7;
const DEPTH_UNIT = 8;

/** Column-major: (texels from the image's first pixel) -> (pixel across, pixel down, off the image). */
function imageFrom({ matrix12: m }, scale) {
  const i = [m[0], m[4], m[8]].map((part) => part * scale);
  const j = [m[1], m[5], m[9]].map((part) => part * scale);
  const k = unit(cross(i, j));
  const volume = dot(i, cross(j, k));
  const rows = [cross(j, k), cross(k, i), cross(i, j)].map((row) => row.map((part) => part / volume));
  return new Float32Array([0, 1, 2].flatMap((column) => rows.map((row) => row[column])));
}

export class Marcher {
  #gl;
  #programs = new Map(); // compiled when a mode is first drawn: each takes a tablet some 50 ms
  #targets = new Map(); // share of the resolution -> {frame, colour, depth, width, height}
  #shown = null;

  constructor(gl) {
    this.#gl = gl;
    this.#composite = new Program(gl, SQUARE, COMPOSITE);
    this.#table = this.#texture2d(gl.LINEAR);
    this.#image = this.#texture2d(gl.LINEAR);
  }
  #composite;
  #table;
  #image;

  #texture2d(filter) {
    const gl = this.#gl;
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + IMAGE_UNIT);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const [name, value] of [["MIN_FILTER", filter], ["MAG_FILTER", filter], ["WRAP_S", gl.CLAMP_TO_EDGE], ["WRAP_T", gl.CLAMP_TO_EDGE]]) { // prettier-ignore
      gl.texParameteri(gl.TEXTURE_2D, gl[`TEXTURE_${name}`], value);
    }
    return texture;
  }

  image(bitmap) {
    const gl = this.#gl;
    gl.activeTexture(gl.TEXTURE0 + IMAGE_UNIT);
    gl.bindTexture(gl.TEXTURE_2D, this.#image);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    this.hasImage = true;
  }

  #target(share, width, height) {
    const gl = this.#gl;
    const old = this.#targets.get(share);
    if (old?.width === width && old.height === height) return old;
    if (old) this.#drop(old);
    const [colour, depth, frame] = [this.#texture2d(gl.LINEAR), this.#texture2d(gl.NEAREST), gl.createFramebuffer()];
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    for (const [texture, format, point] of [[colour, gl.RGBA8, gl.COLOR_ATTACHMENT0], [depth, gl.DEPTH_COMPONENT24, gl.DEPTH_ATTACHMENT]]) { // prettier-ignore
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, height);
      gl.framebufferTexture2D(gl.FRAMEBUFFER, point, gl.TEXTURE_2D, texture, 0);
    }
    const made = { frame, colour, depth, width, height };
    this.#targets.set(share, made);
    return made;
  }

  #drop({ frame, colour, depth }) {
    this.#gl.deleteFramebuffer(frame);
    this.#gl.deleteTexture(colour);
    this.#gl.deleteTexture(depth);
  }

  #program(mode, photo) {
    const name = `${mode} ${photo}`;
    if (!this.#programs.has(name)) this.#programs.set(name, new Program(this.#gl, RAYS, march(mode, photo)));
    return this.#programs.get(name);
  }

  /** One picture of the volume, at `share` of the resolution {width, height} in device px. `order`: see View3D. */
  march(textures, order, { width, height }, share) {
    const gl = this.#gl;
    const target = this.#target(share, Math.max(Math.ceil(width * share), 1), Math.max(Math.ceil(height * share), 1));
    this.#shown = target;
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    gl.viewport(0, 0, target.width, target.height);
    gl.scissor(0, 0, target.width, target.height);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.ALWAYS);
    textures.bind();
    gl.activeTexture(gl.TEXTURE0 + IMAGE_UNIT);
    gl.bindTexture(gl.TEXTURE_2D, this.#image);
    gl.activeTexture(gl.TEXTURE0 + TABLE_UNIT);
    gl.bindTexture(gl.TEXTURE_2D, this.#table);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, order.rows);
    this.#program(order.mode, order.photo).use(this.#uniforms(textures, order));
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.disable(gl.DEPTH_TEST);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  }

  #uniforms(textures, { mode, look, light, rows, window, iso_level, photo_window, most, image, bounds, radius }) {
    const { scale, offset, dims, brick } = textures.placement;
    const texel = (point) => point.map((mm, axis) => mm * scale + offset[axis]);
    const within = (point) => texel(point).map((at, axis) => Math.min(Math.max(at, 0.001), dims[axis] - 0.001));
    const shown = image && this.hasImage ? image : null;
    return {
      ...{ uVoxels: 0, uStates: 1, uSkip: 2, uPhoto: 3, uImage: IMAGE_UNIT, uTable: TABLE_UNIT },
      ...{ uForward: look.forward, uAcross: look.across, uUpward: look.upward, uDepth: look.depth, uEye: texel(look.eye) },
      uScale: dims.map((side) => 1 / side),
      uLow: bounds ? within(bounds.min) : [1, 1, 1],
      uHigh: bounds ? within(bounds.max) : [0, 0, 0], // no ray meets that
      uLight: light,
      uBrick: brick,
      uMm: 1 / scale,
      uFade: 1 / (2 * radius * scale),
      uWindow: window.map((at) => at / 255),
      uPhotoWindow: photo_window.map((at) => at / 255),
      uMost: most,
      uBar: (mode === "iso" ? iso_level : firstSeen(rows)) / 255,
      uHasImage: shown !== null,
      uImageFrom: shown ? imageFrom(shown, scale) : new Float32Array(9),
      uImageOrigin: shown ? texel([shown.matrix12[3], shown.matrix12[7], shown.matrix12[11]]) : [0, 0, 0],
      uImageSize: shown ? [shown.width, shown.height] : [1, 1],
    };
  }

  /** The last picture onto the canvas, within the viewport of now, with its depth. */
  composite({ width, height }) {
    const gl = this.#gl;
    for (const [unit, texture] of [[COLOUR_UNIT, this.#shown.colour], [DEPTH_UNIT, this.#shown.depth]]) { // prettier-ignore
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
    }
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.ALWAYS);
    this.#composite.use({ uColour: COLOUR_UNIT, uDepths: DEPTH_UNIT, uSize: [width, height] });
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    gl.disable(gl.DEPTH_TEST);
  }
}
