// The form of an exam: everything in it is optional. What is typed goes to the device when a field is left.

import { field, h, setText } from '../dom.js';
import { directionPicture, directionWords, NEXT } from '../direction.js';
import { language, t } from '../i18n.js';

const FIELDS = [
  ['patient_name', { autocomplete: 'off' }], ['patient_id', { autocomplete: 'off' }], ['birth_date', { type: 'date' }],
  ['sex', ['', 'F', 'M', 'O']], ['accession', {}], ['operator', {}], ['body_part', {}], ['side', ['', 'left', 'right']], ['notes', {}],
];
const OF_THE_PATIENT = ['patient_name', 'patient_id', 'birth_date', 'accession'];

// A maker's own preset brings its words along.
const wordsOf = ({ name, words }) => words?.[language] ?? words?.en ?? t(`preset.${name}`);

export class ExamForm {
  constructor({ secure, presets, onchange }) {
    this.onchange = onchange;
    this.presets = presets;
    this.preset = 0;
    this.direction = '';
    this.inputs = {};
    const rows = FIELDS.filter(([name]) => secure || !OF_THE_PATIENT.includes(name)).map(([name, kind]) => {
      const input = Array.isArray(kind)
        ? h('select', {}, kind.map((value) => h('option', { value }, t(`exam.${name}.${value || 'none'}`))))
        : h('input', { maxlength: 500, ...kind });
      input.addEventListener('change', () => this.changed());
      this.inputs[name] = input;
      return field(t(`exam.${name}`), input);
    });
    this.chips = presets.map((preset, i) => h('button', { class: 'chip', type: 'button', onclick: () => this.choose(i) }, wordsOf(preset)));
    this.picture = h('div', { class: 'picture' });
    this.words = h('strong');
    this.turn = h('button', { class: 'direction-button', type: 'button', onclick: () => this.setDirection(NEXT[this.direction]) }, this.picture, this.words,
      h('span', { class: 'fine' }, t('direction.tap')));
    this.element = h('section', { class: 'exam', 'aria-label': t('exam.title') },
      h('h2', {}, t('exam.title')), h('div', { class: 'chips', role: 'group', 'aria-label': t('exam.preset') }, this.chips),
      this.turn, secure ? null : h('p', { class: 'warn' }, t('exam.plain')), h('div', { class: 'fields' }, rows));
    this.draw();
  }

  get values() {
    const filled = Object.entries(this.inputs).map(([name, input]) => [name, input.value.trim()]);
    return { exam: Object.fromEntries(filled.filter(([, value]) => value)), preset: this.preset, direction: this.direction };
  }

  // What the device has, unless somebody is typing here.
  update({ exam, preset, direction }) {
    if (this.element.contains(document.activeElement) && document.activeElement.matches('input,select')) return;
    for (const [name, input] of Object.entries(this.inputs)) if (input.value !== (exam[name] ?? '')) input.value = exam[name] ?? '';
    if (preset === this.preset && direction === this.direction) return;
    this.preset = preset;
    this.direction = direction;
    this.draw();
  }

  choose(i) {
    this.preset = i;
    const { body_part: part, side, direction } = this.presets[i];
    if (part) this.inputs.body_part.value = wordsOf(this.presets[i]);
    if (side) this.inputs.side.value = side;
    if (direction) this.direction = direction;
    this.changed();
  }

  setDirection(direction) {
    this.direction = direction;
    this.changed();
  }

  changed() {
    this.draw();
    this.onchange(this.values);
  }

  draw() {
    this.chips.forEach((chip, i) => chip.setAttribute('aria-pressed', String(i === this.preset)));
    this.picture.replaceChildren(directionPicture(this.direction, Boolean(this.direction)));
    setText(this.words, directionWords(this.direction, this.direction ? '' : 'unverified'));
  }
}
