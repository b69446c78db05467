// The form of an exam: everything in it is optional. What is typed goes to the device when a field is left.

import { ask, choose, field, h, setText, show } from '../dom.js';
import { directionPicture, directionWords, NEXT } from '../direction.js';
import { date, language, number, t, today } from '../i18n.js';
import { Insist } from '../insist.js';

const FIELDS = [
  ['patient_name', { autocomplete: 'off' }], ['patient_id', { autocomplete: 'off' }], ['birth_date', { type: 'date' }],
  ['sex', ['', 'F', 'M', 'O']], ['accession', {}], ['operator', {}], ['body_part', {}], ['side', ['', 'left', 'right']], ['notes', {}],
];
const OF_THE_PATIENT = ['patient_name', 'patient_id', 'birth_date', 'accession'];
const FROM_THE_WORKLIST = [...OF_THE_PATIENT, 'sex'];
const ANSWER_S = 30; // the device gives up before

// A maker's own preset brings its words along.
const wordsOf = ({ name, words }) => words?.[language] ?? words?.en ?? t(`preset.${name}`);

// Whose sweep it is. `onchange(values, target)`: rejects with what the device or the link has against it.
export class ExamFields {
  constructor({ secure, onchange, run = () => {}, onrefused = () => {} }) {
    Object.assign(this, { onchange, run, onrefused });
    this.study_uid = ''; // of the worklist's entry
    this.told = new Insist(({ values, target }) => this.onchange(values, target), (wrong) => this.onrefused(wrong)); // until it is answered, what the device says of the form is older
    this.target = ''; // the sweep that a change is of
    this.sweeping = false; // a sweep runs: the form is its
    this.inputs = {};
    const rows = FIELDS.filter(([name]) => secure || !OF_THE_PATIENT.includes(name)).map(([name, kind]) => {
      const input = Array.isArray(kind)
        ? h('select', {}, kind.map((value) => h('option', { value }, t(`exam.${name}.${value || 'none'}`))))
        : h('input', { maxlength: 500, ...kind });
      input.addEventListener('change', () => {
        if (OF_THE_PATIENT.includes(name)) this.study_uid = ''; // another patient than the order's
        this.changed();
      });
      this.inputs[name] = input;
      return field(t(`exam.${name}`), input);
    });
    this.fields = h('div', { class: 'fields' }, rows);
    this.ask = h('button', { class: 'ghost', type: 'button', onclick: () => this.askWorklist() }, t('worklist.ask'));
    this.linked = h('p', { class: 'fine', hidden: true }, t('worklist.linked'));
    this.element = h('section', { class: 'exam', 'aria-label': t('exam.title') }, h('div', { class: 'row' }, secure ? this.ask : null), this.linked, this.fields);
  }

  get values() {
    const filled = Object.entries(this.inputs).map(([name, input]) => [name, input.value.trim()]);
    return { exam: Object.fromEntries([...filled, ['study_uid', this.study_uid]].filter(([, value]) => value)) };
  }

  // What the device has, unless somebody is typing here. `fresh`: the link is there, and the device has told who operates.
  fill(exam, operator, fresh) {
    this.ask.disabled = !operator?.me || Boolean(this.waits);
    if (fresh) this.told.again(operator);
    if (this.told.waits) return false;
    if (this.element.contains(document.activeElement) && document.activeElement.matches('input,select')) return false;
    for (const [name, input] of Object.entries(this.inputs)) if (input.value !== (exam[name] ?? '')) input.value = exam[name] ?? '';
    this.study_uid = exam.study_uid ?? '';
    show(this.linked, Boolean(this.study_uid));
    return true;
  }

  // The answer comes as a message of its own: the device asks the network for us.
  async askWorklist() {
    this.wait(true);
    if (!(await this.run('worklist', { date: today() }))) this.wait(false);
  }

  wait(on) {
    clearTimeout(this.waits);
    this.waits = on ? setTimeout(() => this.worklist({ error: 'NO_ANSWER' }), 1000 * ANSWER_S) : 0;
    this.ask.disabled = on;
    setText(this.ask, t(on ? 'worklist.asking' : 'worklist.ask'));
  }

  // The `worklist` message.
  async worklist(told) {
    if (!this.waits) return; // given up before
    this.wait(false);
    if (told.error) return this.onrefused(told);
    const { entries, left_out: left, cut, date: of } = told;
    const rows = entries.map(({ exam, when, what }) => [
      [exam.patient_name, exam.patient_id].filter(Boolean).join(' · '), [when.replace(/^.* (\d\d)(\d\d)$/, '$1:$2'), what].filter(Boolean).join(' – '),
      exam.accession && `${t('exam.accession')}: ${exam.accession}`, exam.birth_date && `${t('exam.birth_date')}: ${date(exam.birth_date)}`]);
    const note = [cut && t('worklist.cut'), left && t('worklist.left_out', { count: number(left) })].filter(Boolean).join(' ');
    const chosen = await choose(t(rows.length ? 'worklist.of' : 'worklist.nobody', { day: date(of) }), rows, note, t('worklist.close'));
    if (chosen !== null) await this.take(entries[chosen].exam);
  }

  // Everything of the patient before goes, his notes too: no form is of two patients.
  async take(exam) {
    const other = ['patient_id', 'patient_name'].some((name) => this.inputs[name].value.trim() !== (exam[name] ?? ''));
    if (other && this.sweeping && !(await ask(t('worklist.ask_sweeping'), t('worklist.go_on'), t('cancel')))) return;
    for (const name of FROM_THE_WORKLIST) this.inputs[name].value = exam[name] ?? '';
    if (other) this.inputs.notes.value = '';
    this.study_uid = exam.study_uid ?? '';
    this.changed();
  }

  changed() {
    show(this.linked, Boolean(this.study_uid));
    this.told.say({ values: this.values, target: this.target });
  }
}

// And what the next sweep begins with.
export class ExamForm extends ExamFields {
  constructor({ presets, ...words }) {
    super(words);
    this.presets = presets;
    this.preset = 0;
    this.direction = '';
    this.chips = presets.map((preset, i) => h('button', { class: 'chip', type: 'button', onclick: () => this.choose(i) }, wordsOf(preset)));
    this.picture = h('div', { class: 'picture' });
    this.words = h('strong');
    this.turn = h('button', { class: 'direction-button', type: 'button', onclick: () => this.setDirection(NEXT[this.direction]) }, this.picture, this.words,
      h('span', { class: 'fine' }, t('direction.tap')));
    this.element.replaceChildren(
      h('div', { class: 'row' }, h('h2', { class: 'grow' }, t('exam.title')), words.secure ? this.ask : ''), this.linked, h('div', { class: 'chips', role: 'group', 'aria-label': t('exam.preset') }, this.chips),
      this.turn, words.secure ? '' : h('p', { class: 'warn' }, t('exam.plain')), this.fields);
    this.draw();
  }

  get values() {
    return { ...super.values, preset: this.preset, direction: this.direction };
  }

  update({ exam, preset, direction, sweep, operator }, fresh) {
    this.sweeping = sweep?.state === 'sweeping';
    this.target = this.sweeping ? sweep.id : ''; // a correction while a sweep runs is that sweep's
    if (!this.fill(exam, operator, fresh) || (preset === this.preset && direction === this.direction)) return;
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
    super.changed();
  }

  draw() {
    this.chips.forEach((chip, i) => chip.setAttribute('aria-pressed', String(i === this.preset)));
    this.picture.replaceChildren(directionPicture(this.direction, Boolean(this.direction)));
    setText(this.words, directionWords(this.direction, this.direction ? '' : 'unverified'));
  }
}
