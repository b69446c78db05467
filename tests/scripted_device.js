// A device that says what a test has it say: in place of the WebSocket and of /api, before the page begins.
const real = globalThis.fetch;
globalThis.fetch = async (path, words) => {
  if (path === '/api/me') return Response.json({ paired: true, role: 'operator' });
  if (words?.method !== 'POST') return real(path, words);
  device.said.push({ do: 'upload', path });
  return Response.json({ file: 'view.png' });
};

const device = {
  said: [], // commands of the page
  silent: new Set(), // commands that are not answered
  answers: {}, // by command, instead of {ok: true}
  sockets: 0,
  dead: false, // everything that the page says is lost
  tell: (message) => device.socket.onmessage?.({ data: JSON.stringify(message) }),
  down: false, // no new link opens
  lose: () => {
    device.down = true;
    device.socket.onclose?.();
  },
  back: () => {
    device.down = false;
    device.socket.onopen?.();
  },
};

globalThis.WebSocket = class {
  constructor() {
    device.socket = this;
    device.sockets++;
    setTimeout(() => device.down || this.onopen?.());
  }

  send(text) {
    const said = JSON.parse(text);
    if (said.ack || device.dead) return;
    if (said.do !== 'ping') device.said.push(said);
    if (!device.silent.has(said.do)) setTimeout(() => this.onmessage?.({ data: JSON.stringify({ type: 'answer', id: said.id, ok: true, time_ms: performance.now(), ...device.answers[said.do] }) }));
  }

  close() {}
};
globalThis.device = device;
globalThis.errors = [];
addEventListener('error', ({ message }) => errors.push(message));
addEventListener('unhandledrejection', ({ reason }) => errors.push(String(reason)));
