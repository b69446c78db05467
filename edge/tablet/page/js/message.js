// The door for binary messages of the link (docs/tablet-link.md): a header of 32 bytes and a payload, or a RangeError that says what is wrong.
import { lz4 } from "./lz4.js";

const HEADER = 32;
const LONGEST = 64 << 20; // bytes after decompression; a header that asks for more is wrong, and we do not allocate for it
const CODECS = {
  0: (bytes) => bytes,
  1: lz4,
};

/** {type, flags, seq, number, time_ms, count, payload: Uint8Array} */
export function readMessage(buffer) {
  if (buffer.byteLength < HEADER) throw new RangeError(`a message of ${buffer.byteLength} bytes has no header`);
  const view = new DataView(buffer);
  const codec = CODECS[view.getUint8(1)];
  const length = view.getUint32(28, true);
  if (!codec) throw new RangeError(`codec ${view.getUint8(1)} is not known`);
  if (length > LONGEST) throw new RangeError(`a payload of ${length} bytes is too long`);
  const payload = codec(new Uint8Array(buffer, HEADER), length);
  if (payload.length !== length) throw new RangeError(`${payload.length} bytes of payload where ${length} were announced`);
  return {
    type: String.fromCharCode(view.getUint8(0)),
    flags: view.getUint16(2, true),
    seq: view.getUint32(4, true),
    number: Number(view.getBigUint64(8, true)),
    time_ms: view.getFloat64(16, true),
    count: view.getUint32(24, true),
    payload,
  };
}
