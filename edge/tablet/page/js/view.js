// What all views of the scene have in common: a place on the canvas, and settings that draw it again when they change.

export class View {
  /** `settings`: name -> value at the start. */
  constructor(scene, settings) {
    this.scene = scene;
    for (const [name, start] of Object.entries({ rect: null, ...settings })) {
      let value = start;
      const set = (to) => {
        value = to;
        this.touch();
      };
      Object.defineProperty(this, name, { get: () => value, set, enumerable: true });
    }
  }

  /** It must be drawn again; `moving`: and soon once more, so half the resolution will do. */
  touch({ moving = false } = {}) {
    this.stale = true;
    this.scene.invalidate(moving);
  }

  holds(x, y) {
    const { rect } = this;
    return rect !== null && x >= rect.x && y >= rect.y && x < rect.x + rect.width && y < rect.y + rect.height;
  }

  get middle() {
    return [this.rect.x + this.rect.width / 2, this.rect.y + this.rect.height / 2];
  }

  /** Draws only within the rect from now on; `ratio`: device px per CSS px. */
  clip(gl, ratio) {
    const { x, y, width, height } = this.rect;
    const left = Math.round(x * ratio);
    const bottom = gl.drawingBufferHeight - Math.round((y + height) * ratio);
    const box = [left, bottom, Math.round((x + width) * ratio) - left, Math.round((y + height) * ratio) - Math.round(y * ratio)];
    gl.viewport(...box);
    gl.scissor(...box);
  }

  tap() {}
}
