// What the page itself refuses, by name: its words are error.NAME of page/lang, as those of the device's refusals.

export class Refused extends Error {
  constructor(error) {
    super(error);
    this.error = error;
  }
}
