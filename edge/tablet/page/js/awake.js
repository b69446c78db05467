// Keeps the tablet's screen on while there are live images. Browsers allow that over https only, and take it back from a hidden page.

export class Awake {
  #lock = null;
  #asking = false;

  async keep(wanted) {
    if (!wanted) {
      this.#lock?.release();
      this.#lock = null;
    } else if (!this.#asking && (!this.#lock || this.#lock.released) && document.visibilityState === 'visible' && navigator.wakeLock) {
      this.#asking = true;
      this.#lock = await navigator.wakeLock.request('screen').catch(() => null); // a nearly empty battery refuses it
      this.#asking = false;
    }
  }
}
