// The WebSocket to the device: comes back by itself, answers every command, knows the device's clock.

const BACKOFF_MS = [250, 4000];
const CONNECT_MS = 5000;
const ANSWER_MS = 8000;
const LOOK_MS = 500;
const SILENT_LOOKS = 6; // 3 s; states come four times a second. Counted, not timed: a page that slept has not looked

export class Link extends EventTarget {
  constructor(url) {
    super();
    this.url = url;
    this.open = false;
    this.delay_ms = null;
    this.clock_offset_ms = 0; // the device's clock minus performance.now()
    this.waiting = new Map();
    this.number = 0;
    this.backoff = BACKOFF_MS[0];
    this.refused = false;
    this.awake = () => document.visibilityState === 'visible' && this.connect(); // iOS leaves sockets that look open and are dead
    document.addEventListener('visibilitychange', this.awake);
    addEventListener('pageshow', (event) => event.persisted && this.connect());
    setInterval(() => this.open && this.ping(), 2000);
    setInterval(() => this.open && ++this.quiet > SILENT_LOOKS && this.again(this.socket), LOOK_MS);
    this.connect();
  }

  connect() {
    clearTimeout(this.timer);
    this.drop();
    const socket = new WebSocket(this.url);
    socket.binaryType = 'arraybuffer';
    this.socket = socket;
    this.timer = setTimeout(() => this.again(socket), CONNECT_MS);
    socket.onopen = () => {
      clearTimeout(this.timer);
      this.open = true;
      this.quiet = 0; // looks since the device said something
      this.backoff = BACKOFF_MS[0];
      this.emit('status');
      this.ping();
    };
    socket.onclose = () => this.again(socket);
    socket.onmessage = ({ data }) => {
      this.quiet = 0;
      typeof data === 'string' ? this.text(JSON.parse(data)) : this.emit('binary', data);
    };
  }

  drop() {
    if (!this.socket) return;
    this.socket.onopen = this.socket.onclose = this.socket.onmessage = null;
    this.socket.close();
    this.socket = null;
    this.open = false;
    for (const { reject } of this.waiting.values()) reject({ error: 'LINK_LOST' });
    this.waiting.clear();
  }

  again(socket) {
    if (socket !== this.socket) return;
    this.drop();
    this.emit('status');
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), this.backoff * (0.75 + Math.random() / 2));
    this.backoff = Math.min(2 * this.backoff, BACKOFF_MS[1]);
  }

  text(message) {
    if (message.type !== 'answer') return this.emit(message.type, message);
    const waits = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (waits) message.ok ? waits.resolve(message) : waits.reject(message);
  }

  // Resolves with the answer; rejects with {error, text}. Never assume that a tap worked.
  command(name, words = {}) {
    if (!this.open) return Promise.reject({ error: 'LINK_LOST' });
    const id = ++this.number;
    this.socket.send(JSON.stringify({ id, do: name, ...words }));
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      setTimeout(() => this.waiting.delete(id) && reject({ error: 'NO_ANSWER' }), ANSWER_MS);
    });
  }

  ack(kind, seq) {
    if (this.open) this.socket.send(`{"ack":"${kind}","seq":${seq}}`);
  }

  ping() {
    const sent = performance.now();
    this.command('ping', { t: sent }).then(({ time_ms }) => {
      const now = performance.now();
      this.delay_ms = (now - sent) / 2;
      this.clock_offset_ms = time_ms + this.delay_ms - now;
    }, () => {});
  }

  // How old what happened at `time_ms` of the device's clock is.
  age_ms(time_ms) {
    return performance.now() + this.clock_offset_ms - time_ms;
  }

  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
