// Off the main thread: unpacks what the link brings, keeps the bricks, and answers questions about them.
import { Bricks, SIDE, channelOf } from "./bricks.js";
import { region, samples } from "./measure.js";
import { readMessage } from "./message.js";
import { OXYGEN, Unmixing } from "./unmixing.js";

const bricks = new Bricks();
let unmixing = null; // while saturation is shown
let images = Promise.resolve(); // decoding is asynchronous: a chain, so that they leave in the order in which they came

/** A question (`ask`) -> [answer, what to transfer]. */
const ANSWERS = {
  checksum: () => [bricks.checksum(), []],
  region: (box) => [region(bricks, box), []],
  sample: ({ points_mm, channel }) => [samples(bricks, points_mm, channel), []],
  oxygen: (point_mm) => [unmixing?.at(bricks, point_mm) ?? null, []],
  memory: () => [{ bricks: bricks.slots.size, worker_bytes: bricks.bytes }, []],
  keys: () => {
    const keys = withOxygen(bricks.keys());
    return [keys, [keys.buffer]];
  },
  fetch: ({ keys, factor }) => {
    const size = 2 * (SIDE / factor) ** 3;
    const data = new Uint8Array(keys.length * size);
    const most = new Uint8Array(keys.length); // of each brick, for the grid of what can be skipped
    keys.forEach((key, n) => {
      if (channelOf(key) === OXYGEN) {
        if (unmixing) most[n] = unmixing.texels(bricks, key, factor, data, n * size);
        return;
      }
      bricks.shown(key, factor, data, n * size);
      for (let i = n * size; i < n * size + size / 2; i++) if (data[i] > most[n]) most[n] = data[i];
    });
    return [{ keys, data, most, size }, [keys.buffer, data.buffer, most.buffer]];
  },
};

const withOxygen = (keys) => (unmixing ? Float64Array.of(...keys, ...unmixing.touched(bricks, keys)) : keys);

function takeBricks(message) {
  const changed = bricks.apply(message);
  const keys = changed && withOxygen(changed);
  const [, measured, interpolated, filled] = bricks.counts;
  const told = { epoch: bricks.number, bounds_mm: bricks.bounds_mm, counts: { measured, interpolated, filled }, previews: bricks.previews.size };
  postMessage({ is: "bricks", type: message.type, seq: message.seq, keys, ...told });
}

async function takeImage({ seq, number, flags, time_ms, count, payload }) {
  const told = { sequence: number, time_ms, in_sweep: Boolean(flags & 1), photoacoustic: Boolean(flags & 2), wavelength_nm: flags >> 4 };
  const scale = new DataView(payload.buffer, payload.byteOffset, 8);
  const spacing_mm = [scale.getFloat32(0, true), scale.getFloat32(4, true)];
  const bitmap = await createImageBitmap(new Blob([payload.subarray(8)], { type: "image/jpeg" })).catch(() => null);
  // One that cannot be decoded is acknowledged all the same: the next one may be good, and the credit would be used up for ever.
  if (!bitmap) postMessage({ is: "refused", text: `image ${number} is not a JPEG`, ack: ["I", seq] });
  else postMessage({ is: "image", seq, image: { bitmap, spacing_mm, ...told, width: count & 65535, height: count >>> 16 } }, [bitmap]);
}

const MESSAGES = {
  V: takeBricks,
  S: takeBricks,
  I: (message) => {
    images = images.then(() => takeImage(message));
  },
};

const ORDERS = {
  epoch: (settings) => {
    unmixing = null; // its channels were those of the volume before
    bricks.epoch(settings);
  },
  unmix: (told) => (unmixing = told && new Unmixing(told)),
  binary: (buffer) => {
    // Bricks that are refused are not acknowledged: they were not applied, and the device must not believe that they were.
    try {
      const message = readMessage(buffer);
      if (!(message.type in MESSAGES)) throw new RangeError(`messages of type ${message.type} are not known`);
      MESSAGES[message.type](message);
    } catch (wrong) {
      if (!(wrong instanceof RangeError)) throw wrong;
      postMessage({ is: "refused", text: wrong.message });
    }
  },
  ask: ({ id, what, with: args }) => {
    const [answer, transfer] = ANSWERS[what](args);
    postMessage({ is: "answer", id, answer }, transfer);
  },
};

onmessage = ({ data: [order, args] }) => ORDERS[order](args);
