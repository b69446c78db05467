// A sweep that has ended: the volume from all sides, its direction confirmed or turned, measured, kept or thrown away.

import { ask, field, h, setText, show } from '../dom.js';
import { directionPicture, directionWords } from '../direction.js';
import { drift, number, t } from '../i18n.js';
import { Insist } from '../insist.js';
import { KINDS, measuredVolume } from '../measuring.js';
import { Oxygen } from '../oxygen.js';
import { ExamFields } from './exam.js';
import { label, MeasureTools } from '../measure_tools.js';
import { Refused } from '../refused.js';

const PLANES = ['lateral-axial', 'elevational-axial', 'lateral-elevational'];
const MODES = ['alpha', 'mip', 'iso'];
const FORMATS = ['nrrd', 'mha', 'nii.gz', 'igs.mha', 'png', 'dcm', 'zip'];
const UNSURE = ['unverified', 'unknown'];
const TURN_S = 6;

export class ReviewScreen {
  constructor({ scene, volume, light, presets, run, download, upload, onleave, onrefused, hello, holds, command, onmeasured }) {
    Object.assign(this, { scene, volume, run, command, download, upload, onleave, onrefused, onmeasured, holds });
    this.sweep = null;
    this.confirmed = false;
    this.tools = new MeasureTools(scene, {
      known: () => ({ path: this.path ?? [], spacing_mm: volume.spacing_mm || 0.5 }),
      onrefused,
      onchange: (measures) => this.keepMeasures(measures),
    });
    this.kept = new Insist((words) => command('measures', words), (wrong) => {
      onrefused(wrong);
      command('list').catch(() => {}); // what the device has after all
    });
    this.oxygen = new Oxygen({ scene, volume, light });
    this.panes = ['3d', ...PLANES].map((view) => h('div', { class: 'pane', 'data-view': view }, h('span', { class: 'pane-name' }, t(`view.${view}`))));
    this.mode = h('select', { onchange: () => this.look() }, MODES.map((mode) => h('option', { value: mode }, t(`mode.${mode}`))));
    this.preset = h('select', { onchange: () => this.look() }, presets.map((name) => h('option', { value: name }, t(`transfer.${name}`))));
    this.low = h('input', { type: 'range', min: 0, max: 254, value: 0, oninput: () => this.look() });
    this.high = h('input', { type: 'range', min: 1, max: 255, value: 255, oninput: () => this.look() });
    this.measured = h('input', { type: 'checkbox', onchange: () => this.look() });
    this.picture = h('div', { class: 'picture' });
    this.direction = h('strong');
    this.about = h('p', { class: 'fine' });
    this.results = h('ul', { class: 'measures' });
    this.threshold = h('input', { type: 'range', min: 1, max: 255, value: 60 });
    this.tool = ['distance', 'angle', 'area', 'outline', 'note'].map((kind) =>
      h('button', { class: 'chip', 'aria-pressed': 'false', 'data-tool': kind, onclick: () => this.choose(kind) }, t(`measure.${kind}`)));
    this.save = h('button', { class: 'primary big', onclick: () => this.keep() }, t('review.save'));
    this.toss = h('button', { class: 'danger big of-deletion', onclick: () => this.discard() }, t('review.discard'));
    this.flip = h('button', { class: 'ghost big', onclick: () => this.turn() }, t('review.flip'));
    this.yes = h('button', { class: 'ghost big', onclick: () => this.confirm() }, t('review.confirm'));
    this.exam = new ExamFields({ ...hello, run, onrefused, onchange: ({ exam }, id) => this.correct(exam, id) });
    this.whose = h('details', { class: 'whose' }, h('summary', {}, t('exam.title')), this.exam.element);
    this.job = h('progress', { max: 1, value: 0, hidden: true });
    const side = h('aside', { class: 'side' },
      h('section', { class: 'turn' }, this.picture, this.direction, h('div', { class: 'row' }, this.yes, this.flip)),
      h('section', { class: 'keep' }, this.about, h('div', { class: 'row' }, this.save, this.toss)), this.whose,
      h('details', { open: true }, h('summary', {}, t('review.look')), field(t('review.mode'), this.mode), field(t('review.preset'), this.preset),
        field(t('review.low'), this.low), field(t('review.high'), this.high), light.row({ review: true }), this.oxygen.element, h('label', { class: 'check' }, this.measured, t('review.measured_only'))),
      h('details', { class: 'of-measurement' }, h('summary', {}, t('measure.title')), h('div', { class: 'chips' }, this.tool),
        h('div', { class: 'row' },
          h('button', { class: 'ghost', onclick: () => this.measuring(() => this.tools.finish()) }, t('measure.done')),
          h('button', { class: 'ghost', onclick: () => this.measuring(() => this.tools.undo()) }, t('measure.undo')),
          h('button', { class: 'ghost', onclick: () => this.measuring(() => this.tools.finishVolume()) }, t('measure.volume'))),
        field(t('measure.threshold'), this.threshold), h('button', { class: 'ghost', onclick: () => this.measuring(() => this.region()) }, t('measure.region')), this.results),
      h('details', { class: 'of-export' }, h('summary', {}, t('export.title')), h('div', { class: 'chips' },
        FORMATS.map((kind) => h('button', { class: kind === 'dcm' ? 'chip of-dicom' : 'chip', onclick: () => this.export(kind) }, kind))),
        h('div', { class: 'row' }, h('button', { class: 'ghost', onclick: () => this.measuring(() => this.shoot()) }, t('export.picture')),
          h('button', { class: 'ghost', onclick: () => this.measuring(() => this.film()) }, t('export.film'))), this.job));
    this.loading = h('p', { class: 'loading', hidden: true }, t('library.loading'));
    this.element = h('main', { class: 'screen review-screen' }, h('div', { class: 'grid' }, this.panes, this.loading), side);
  }

  // `sweep` as the library has it, or as the state of the one that has just ended. `measures` null: nobody knows them yet.
  open(sweep, measures = []) {
    this.sweep = sweep;
    this.listed = measures !== null;
    this.exam.target = sweep.id;
    this.confirmed = false;
    this.tools.load(measures ?? []);
    this.look();
    this.update();
    this.list();
  }

  update(state = null, fresh = false) {
    this.operator = state ? state.operator : this.operator;
    const current = state?.sweep?.id === this.sweep?.id ? state?.sweep : null;
    if (current) Object.assign(this.sweep, { ...current, exam: this.sweep.exam }); // counts and length, too, may come after the end
    if (!this.sweep) return;
    if (fresh) this.kept.again(this.operator);
    show(this.loading, !this.holds(this.sweep));
    const { direction, direction_source: source, state: kept } = this.sweep;
    const sure = this.confirmed || !UNSURE.includes(source);
    const key = direction + sure;
    if (key !== this.drawn) this.picture.replaceChildren(directionPicture(direction, sure));
    this.drawn = key;
    setText(this.direction, directionWords(direction, this.confirmed ? 'operator' : source));
    show(this.yes, !sure);
    show(this.whose, kept === 'unsaved');
    this.exam.fill(this.sweep.exam ?? {}, this.operator, fresh);
    show(this.flip, source !== 'tracked');
    this.save.disabled = kept === 'saved' || kept === 'rebuilding' || kept === 'saving';
    setText(this.save, t(kept === 'saved' ? 'review.saved' : kept === 'rebuilding' ? 'review.rebuilding' : kept === 'saving' ? 'review.saving' : 'review.save'));
    setText(this.about, t('review.about', {
      mm: number(this.sweep.length_mm, 0), frames: number(this.sweep.placed ?? this.sweep.frames), drift: drift(this.sweep.drift_mm), motion: this.sweep.motion,
    }));
  }

  // Whose it is may be said until it is kept.
  correct(exam, id) {
    if (id === this.sweep?.id) this.sweep.exam = exam;
    return this.command('exam', { sweep: id, exam });
  }

  showAs(mode) {
    this.mode.value = mode;
    this.look();
  }

  look() {
    const { view3d, slices } = this.scene;
    view3d.mode = this.mode.value;
    view3d.preset = this.preset.value;
    const window = [Math.min(+this.low.value, +this.high.value - 1), +this.high.value];
    for (const view of [view3d, ...slices]) view.window = window;
    view3d.iso_level = Math.max(window[0], 1);
    view3d.hide_invented = this.measured.checked;
  }

  choose(kind) {
    const next = this.tools.kind === kind ? '' : kind;
    this.tools.choose(next);
    for (const chip of this.tool) chip.setAttribute('aria-pressed', String(chip.dataset.tool === next));
  }

  // Voxels at least as bright as the threshold, in a box of 20 mm around the crosshair.
  async region() {
    const cross = this.scene.cross_mm;
    const [min_mm, max_mm] = [cross.map((v) => v - 10), cross.map((v) => v + 10)];
    const found = await this.volume.region({ min_mm, max_mm, threshold: +this.threshold.value, channel: 0 });
    this.mustHold();
    this.tools.add(measuredVolume(found.volume_mm3 / 1000, [min_mm, max_mm],
      { path: this.path ?? [], spacing_mm: this.volume.spacing_mm }, { threshold: +this.threshold.value, by_state: found.by_state }));
  }

  async keepMeasures(measures) {
    if (!this.sweep) return;
    this.list();
    const told = this.kept.say({ sweep: this.sweep.id, measures });
    this.onmeasured();
    await told;
  }

  // As the device has them: another tablet measures too. What is being measured here comes first.
  hear(measures) {
    this.listed = true;
    if (this.kept.waits || this.tools.busy || JSON.stringify(measures) === JSON.stringify(this.tools.measures)) return;
    this.tools.replace(measures);
    this.list();
  }

  list() {
    this.results.replaceChildren(...this.tools.measures.map((measure) =>
      h('li', {}, h('span', {}, t(`measure.${measure.kind}`)), h('strong', {}, label(measure)),
        h('button', { class: 'ghost small', 'aria-label': t('measure.remove'), onclick: () => this.measuring(() => this.remove(measure)) }, '✕'))));
  }

  remove(measure) {
    this.tools.measures = this.tools.measures.filter((one) => one !== measure);
    this.tools.changed();
  }

  confirm() {
    this.confirmed = true;
    this.update();
  }

  turn() {
    return this.run('flip', { sweep: this.sweep.id });
  }

  async keep() {
    const sure = this.confirmed || !UNSURE.includes(this.sweep.direction_source);
    const confirmed = sure || (await ask(t('review.ask_direction', { direction: directionWords(this.sweep.direction) }), t('review.confirm'), t('cancel')));
    if (!confirmed) return;
    if (!(await this.run('save', { sweep: this.sweep.id, exam: this.sweep.exam, direction_confirmed: true }))) return;
    this.sweep.state = 'saved';
    this.confirmed = true;
    this.update();
  }

  async discard() {
    const { id } = this.sweep;
    if (await this.run('discard', { sweep: id })) this.onleave(id);
  }

  export(kind) {
    return this.run('export', { sweep: this.sweep.id, formats: [kind] });
  }

  progress(job) {
    show(this.job, job.done < job.total && !job.error);
    this.job.value = job.total ? job.done / job.total : 0;
    for (const name of job.files) this.download(job.sweep, name);
  }

  // NOT_LOADED while the volume is another sweep's, or nobody knows what was measured in it.
  mustHold() {
    if (!this.sweep || !this.listed || !this.holds(this.sweep)) throw new Refused('NOT_LOADED');
  }

  measuring(work) {
    return this.attempt(() => {
      this.mustHold();
      return work();
    });
  }

  // What is refused on the way is told to the operator.
  async attempt(work) {
    try {
      await work();
    } catch (wrong) {
      if (!wrong.error) throw wrong;
      this.onrefused(wrong);
    }
  }

  async shoot() {
    const { id } = this.sweep;
    const picture = await this.scene.view3d.picture();
    this.mustHold();
    await this.keepPicture(id, picture, 'view.png');
  }

  async film() {
    const { id } = this.sweep;
    this.filming = new AbortController(); // another volume on the screen ends it
    show(this.job, true);
    const turned = this.scene.view3d.turntable({ seconds: TURN_S, signal: this.filming.signal, onprogress: (share) => (this.job.value = share) });
    const ended = (wrong) => { if (wrong.name !== 'AbortError') throw wrong; };
    const film = await turned.catch(ended).finally(() => show(this.job, false));
    if (film) await this.keepPicture(id, film.blob, film.type.includes('mp4') ? 'turntable.mp4' : 'turntable.webm');
  }

  async keepPicture(id, blob, name) {
    const { file } = await this.upload(id, blob, name);
    this.download(id, file);
  }
}

export { KINDS };
