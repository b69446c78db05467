// How fast this tablet draws: a table for the settings screen, and for whoever chooses tablets.
import { keyOf, SIDE } from "./bricks.js";
import { Scene } from "./scene.js";
import { Volume } from "./volume.js";

const BRICKS_A_SIDE = 16; // 128^3 voxels
const FRAMES = 8;
const HEADER = 32;

/** A `V` message (raw) of one brick whose voxels are all there. */
function message(seq, [x, y, z], seed) {
  const data = new Uint8Array(HEADER + 6 + 64 + 2 * SIDE ** 3);
  const view = new DataView(data.buffer);
  view.setUint8(0, "V".charCodeAt(0));
  view.setUint32(4, seq, true);
  view.setBigUint64(8, 1n, true);
  view.setUint32(24, 1, true);
  view.setUint32(28, data.length - HEADER, true);
  [x, y, z].forEach((at, axis) => view.setInt16(HEADER + 2 * axis, at, true));
  data.fill(255, HEADER + 6, HEADER + 70);
  for (let i = 0; i < SIDE ** 3; i++) data[HEADER + 70 + i] = (i * 7919 + seed * 104729) & 255;
  data.fill(1, HEADER + 70 + SIDE ** 3);
  return data.buffer;
}

/** [{what, value}], after some seconds of work on a canvas of 512 x 512. */
export async function selfTest(canvas) {
  Object.assign(canvas.style, { position: "fixed", left: "-600px", width: "512px", height: "512px" });
  document.body.append(canvas);
  const volume = new Volume();
  const scene = new Scene(canvas, volume);
  scene.view3d.rect = { x: 0, y: 0, width: 512, height: 512 };
  volume.epoch({ epoch: 1, spacing_mm: 0.5, source: "test" });
  const begun = performance.now();
  let seq = 0;
  for (let z = 0; z < BRICKS_A_SIDE; z++) for (let y = 0; y < BRICKS_A_SIDE; y++) for (let x = 0; x < BRICKS_A_SIDE; x++) volume.binary(message(++seq, [x, y, z], keyOf(0, x, y, z) % 97));
  await volume.checksum();
  while (scene.textures.busy) await new Promise((resolve) => setTimeout(resolve, 20));
  const rows = [{ what: "128^3: fill", value: `${Math.round(performance.now() - begun)} ms` }];
  for (const mode of ["mip", "alpha", "iso"]) {
    scene.view3d.mode = mode;
    scene.drawNow();
    scene.gl.finish();
    const from = performance.now();
    for (let n = 0; n < FRAMES; n++) {
      scene.view3d.camera.spin(0.1);
      scene.drawNow();
      scene.gl.readPixels(0, 0, 1, 1, scene.gl.RGBA, scene.gl.UNSIGNED_BYTE, new Uint8Array(4));
    }
    rows.push({ what: `128^3: ${mode}`, value: `${((performance.now() - from) / FRAMES).toFixed(1)} ms` });
  }
  rows.push({ what: "MAX_3D_TEXTURE_SIZE", value: scene.gl.getParameter(scene.gl.MAX_3D_TEXTURE_SIZE) });
  scene.destroy();
  volume.destroy();
  canvas.remove();
  return rows;
}
