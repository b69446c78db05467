// Fingers, mouse, wheel and keys on the one canvas, told to the view under them. Whoever shows views says what they do:
// `drag(dx, dy, x, y, panning)`, `pinch(factor, dx, dy, x, y)`, `wheel(steps, x, y, zooming)`, `tap(x, y)`, `key(name)`.

const SLOP = 4; // px a finger may tremble before its touch is a drag
const WHEEL_STEP = 50; // px of wheel that are one step; a notch of a mouse is 100 to 120, a trackpad sends a few at a time
const LINE = 20; // px, where a browser counts the wheel in lines

export class Gestures {
  enabled = true;
  #pointers = new Map(); // id -> [x, y]
  #view = null;
  #moved = false;
  #wheeled = 0;
  #stop = new AbortController();

  /** `viewAt(x, y)`: the view there or null; `viewOfKeys()`: the one that keys go to. */
  constructor(canvas, viewAt, viewOfKeys) {
    Object.assign(canvas.style, { touchAction: "none", overscrollBehavior: "none", userSelect: "none", webkitUserSelect: "none" });
    if (canvas.tabIndex < 0) canvas.tabIndex = 0;
    const place = ({ clientX, clientY }) => {
      const { left, top } = canvas.getBoundingClientRect();
      return [clientX - left, clientY - top];
    };
    const hear = (name, act) =>
      canvas.addEventListener(name, (event) => this.enabled && act(event, ...place(event)), { signal: this.#stop.signal, passive: false });
    hear("pointerdown", (event, x, y) => {
      if (this.#pointers.size === 0) [this.#view, this.#moved] = [viewAt(x, y), false];
      if (!this.#view || this.#pointers.size === 2) return;
      if (event.isTrusted) canvas.setPointerCapture(event.pointerId); // synthetic ones have nothing to capture
      this.#pointers.set(event.pointerId, [x, y]);
    });
    hear("pointermove", (event, x, y) => this.#move(event, x, y));
    hear("pointerup", (event, x, y) => {
      if (this.#pointers.delete(event.pointerId) && !this.#moved && this.#pointers.size === 0) this.#view.tap(x, y);
    });
    hear("pointercancel", (event) => this.#pointers.delete(event.pointerId));
    hear("contextmenu", (event) => event.preventDefault());
    hear("wheel", (event, x, y) => {
      event.preventDefault();
      this.#wheeled += event.deltaY * (event.deltaMode === 1 ? LINE : 1);
      const steps = Math.trunc(this.#wheeled / WHEEL_STEP);
      this.#wheeled -= steps * WHEEL_STEP;
      if (steps) viewAt(x, y)?.wheel(steps, x, y, event.ctrlKey); // browsers send a pinch on a trackpad as wheel with Ctrl
    });
    hear("keydown", (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.altKey && viewOfKeys()?.key(event.key)) event.preventDefault();
    });
  }

  #move(event, x, y) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [x - before[0], y - before[1]];
    if (!this.#moved && Math.hypot(dx, dy) < SLOP) return;
    this.#moved = true;
    this.#pointers.set(event.pointerId, [x, y]);
    if (this.#pointers.size === 1) {
      this.#view.drag(dx, dy, x, y, event.shiftKey || Boolean(event.buttons & 6)); // the right or the middle button
      return;
    }
    const [other] = [...this.#pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const apart = (at) => Math.max(Math.hypot(at[0] - other[0], at[1] - other[1]), 1);
    this.#view.pinch(apart([x, y]) / apart(before), dx / 2, dy / 2, (x + other[0]) / 2, (y + other[1]) / 2);
  }

  destroy() {
    this.#stop.abort();
  }
}
