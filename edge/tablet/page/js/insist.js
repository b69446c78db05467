// What somebody said to the device and the link lost is said again, until the device has answered it.

const LOST = ['LINK_LOST', 'NO_ANSWER'];

export class Insist {
  // `send(words)`: rejects with what the device or the link has against it.
  constructor(send, onrefused) {
    Object.assign(this, { send, onrefused });
    this.words = null; // the newest that the device has not answered
    this.sending = 0; // while some are under way what the device tells is older
  }

  get waits() {
    return this.sending > 0 || this.words !== null;
  }

  async say(words) {
    this.words = words;
    this.sending++;
    try {
      await this.send(words);
    } catch (wrong) {
      if (!wrong.error) throw wrong;
      this.onrefused(wrong);
      if (LOST.includes(wrong.error)) return;
    } finally {
      this.sending--;
    }
    if (this.words === words) this.words = null;
  }

  // `operator` as a state tells it that came over this link: where another tablet operates by now, its word counts.
  again(operator) {
    if (this.sending || !this.words || !operator) return;
    if (operator.me) this.say(this.words);
    else this.words = null;
  }
}
