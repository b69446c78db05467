// One LZ4 block (no frame, no stored size), as the device compresses bricks. Browsers have no LZ4 of their own; this takes 1.2 ms for 630 kB.

/** Uint8Array of exactly `length` bytes; RangeError where the block reads or writes out of bounds. */
export function lz4(from, length) {
  const to = new Uint8Array(length);
  let read = 0;
  let written = 0;
  const check = (fine) => {
    if (!fine) throw new RangeError(`not an LZ4 block of ${length} bytes: wrong at byte ${read} of ${from.length}`);
  };
  const grown = (size) => {
    if (size !== 15) return size;
    let byte;
    do {
      check(read < from.length);
      byte = from[read++];
      size += byte;
    } while (byte === 255);
    return size;
  };
  while (read < from.length) {
    const token = from[read++];
    const literals = grown(token >> 4);
    check(read + literals <= from.length && written + literals <= length);
    for (const end = written + literals; written < end; ) to[written++] = from[read++];
    if (read === from.length) break; // the last sequence has no match
    check(read + 2 <= from.length);
    const back = from[read++] | (from[read++] << 8);
    const run = grown(token & 15) + 4;
    check(back > 0 && back <= written && written + run <= length);
    for (const end = written + run; written < end; written++) to[written] = to[written - back]; // it may overlap: byte by byte
  }
  check(written === length);
  return to;
}
