// The volume seen from the main thread. The bricks are the worker's; here is what everybody asks for all the time, and questions to it.

/**
 * Events: `bricks` (detail: keys that changed), `epoch` (everything was forgotten), `bounds` (they grew), `changed` (bricks came),
 * `refused` (detail: a sentence; a message that was not understood).
 */
export class Volume extends EventTarget {
  onack = () => {}; // (type, seq) when an image or bricks were applied
  onimage = () => {}; // ({bitmap, sequence, time_ms, in_sweep, photoacoustic, wavelength_nm, width, height}); the bitmap is the receiver's to close
  reduced = false; // the textures hold every second voxel, or fewer: set by the Scene
  texture_bytes = 0; // set by the Scene
  number = -1; // of the epoch
  spacing_mm = 1;
  source = "";
  #worker;
  #asked = new Map();
  #asks = 0;

  constructor(workerUrl = new URL("./worker.js", import.meta.url)) {
    super();
    this.#clear();
    this.#worker = new Worker(workerUrl, { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#heard[data.is](data);
    this.#worker.onerror = ({ message }) => this.#tell("refused", message ?? "the worker did not start");
  }

  /** The link's `epoch` message: forget everything. */
  epoch({ epoch, spacing_mm, source }) {
    Object.assign(this, { number: epoch, spacing_mm, source });
    this.#clear();
    this.#worker.postMessage(["epoch", { epoch, spacing_mm }]);
    this.#tell("epoch");
    this.#tell("changed");
  }

  /** A binary message of the link; the buffer is the worker's from now on. */
  binary(buffer) {
    this.#worker.postMessage(["binary", buffer], [buffer]);
  }

  /** {crc32, bricks} of all exact bricks. */
  checksum = () => this.#ask("checksum");

  /** What lies in a box (mm, `threshold` 0..255): {voxels, volume_mm3, by_state: {measured, interpolated, filled}, previews}. */
  region = (box) => this.#ask("region", box);

  /** [{intensity, state}] at [x, y, z] in mm. */
  sample = (points_mm, channel = 0) => this.#ask("sample", { points_mm, channel });

  /** From now on there are bricks of saturation too, computed as `told` (see unmixing.js); null: no more. An epoch ends it. */
  unmix(told) {
    this.#worker.postMessage(["unmix", told]);
  }

  /** The saturation at [x, y, z] in mm: {percent, state} or {why, nm, grey}, or null while none is computed (see unmixing.js). */
  oxygen = (point_mm) => this.#ask("oxygen", point_mm);

  /** All keys that can be shown (see bricks.js). */
  keys = () => this.#ask("keys");

  /** {keys, data, most, size}: bricks to show, each cell the brightest of factor^3 voxels. */
  fetch = (keys, factor) => this.#ask("fetch", { keys, factor });

  memory = async () => ({ ...(await this.#ask("memory")), texture_bytes: this.texture_bytes });

  destroy() {
    this.#worker.terminate();
    for (const { reject } of this.#asked.values()) reject(new Error("the volume is closed"));
    this.#asked.clear();
  }

  #clear() {
    this.bounds_mm = null; // {min: [3], max: [3]}: the outer faces of what holds a voxel
    this.counts = { measured: 0, interpolated: 0, filled: 0 }; // voxels of channel 0
    this.whole = false; // everything came, by the device's checksum: set by the App
    this.previews = 0; // bricks that are there only at half detail
  }

  #ask(what, args) {
    return new Promise((resolve, reject) => {
      this.#asked.set(++this.#asks, { resolve, reject });
      this.#worker.postMessage(["ask", { id: this.#asks, what, with: args }]);
    });
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #heard = {
    bricks: ({ type, seq, keys, epoch, bounds_mm, counts, previews }) => {
      if (keys && epoch === this.number) {
        const grew = JSON.stringify(bounds_mm) !== JSON.stringify(this.bounds_mm);
        Object.assign(this, { bounds_mm, counts, previews });
        this.#tell("bricks", keys);
        if (grew) this.#tell("bounds", bounds_mm);
        this.#tell("changed");
      }
      this.onack(type, seq);
    },
    image: ({ seq, image }) => {
      this.onimage(image);
      this.onack("I", seq);
    },
    refused: ({ text, ack }) => {
      this.#tell("refused", text);
      if (ack) this.onack(...ack);
    },
    answer: ({ id, answer }) => {
      this.#asked.get(id)?.resolve(answer);
      this.#asked.delete(id);
    },
  };
}
