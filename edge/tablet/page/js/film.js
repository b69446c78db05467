// What is seen as a file: a picture, or a film of one turn.
import { Refused } from "./refused.js";

const FILMS = ["video/mp4;codecs=avc1.42E01E", "video/mp4", "video/webm;codecs=vp9", "video/webm"]; // the first that the browser can write
const FRAMES_PER_S = 25;
const TRIES = 3; // a busy browser may have written nothing when the turn is over

/** The view's part of the canvas, drawn at full resolution just now. */
function copied(view, canvas, { even = false } = {}) {
  const { scene, rect } = view;
  const ratio = scene.drawNow();
  const [width, height] = [rect.width, rect.height].map((side) => Math.max(even ? 2 * Math.floor((side * ratio) / 2) : Math.round(side * ratio), 2));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d").drawImage(scene.canvas, Math.round(rect.x * ratio), Math.round(rect.y * ratio), width, height, 0, 0, width, height);
  return canvas;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The GPU has done what it was asked for. Pictures that are asked for faster than it draws queue up, and the whole page then waits for them. */
async function drawn({ gl }) {
  const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
  gl.flush();
  while (!gl.isContextLost() && gl.getSyncParameter(fence, gl.SYNC_STATUS) !== gl.SIGNALED) await pause(4);
  gl.deleteSync(fence);
}

export async function picture(view) {
  const canvas = copied(view, document.createElement("canvas"));
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Refused("NO_GPU"))), "image/png"));
}

export async function turntable(view, options) {
  for (let tries = 0; tries < TRIES; tries++) {
    const film = await turn(view, options);
    if (film.blob.size) return film;
  }
  throw new Refused("NO_FILMS");
}

async function turn(view, { seconds = 6, onprogress = () => {}, signal } = {}) {
  const type = FILMS.find((one) => globalThis.MediaRecorder?.isTypeSupported(one));
  if (!type) throw new Refused("NO_FILMS");
  const canvas = copied(view, document.createElement("canvas"), { even: true });
  const stream = canvas.captureStream(FRAMES_PER_S);
  const recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 8e6 });
  const pieces = [];
  recorder.ondataavailable = ({ data }) => pieces.push(data);
  const ended = new Promise((resolve) => (recorder.onstop = resolve));
  const was = view.camera.rotation;
  recorder.start();
  const begun = performance.now();
  try {
    for (let share = 0; share < 1 && !signal?.aborted; share = (performance.now() - begun) / (1000 * seconds)) {
      view.camera.rotation = was;
      view.camera.spin(2 * Math.PI * share);
      view.touch();
      copied(view, canvas, { even: true });
      onprogress(share);
      await Promise.all([drawn(view.scene), pause(1000 / FRAMES_PER_S)]);
    }
  } finally {
    view.camera.rotation = was;
    view.touch();
    recorder.stop();
    await ended;
    stream.getTracks().forEach((track) => track.stop());
  }
  if (signal?.aborted) throw new DOMException("the film was stopped", "AbortError");
  return { blob: new Blob(pieces, { type: type.split(";")[0] }), type: type.split(";")[0] };
}
