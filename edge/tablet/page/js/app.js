// The page: one link, one volume, one scene, and the screens that show them.

import { Awake } from './awake.js';
import { h, say, show } from './dom.js';
import { Faults, refusal } from './faults.js';
import { setLanguage, t } from './i18n.js';
import { Light } from './light.js';
import { Link } from './link.js';
import { Scene } from './scene.js';
import { LibraryScreen } from './screens/library.js';
import { LiveScreen } from './screens/live.js';
import { pair, pairScreen, secretInAddress } from './screens/pair.js';
import { ReviewScreen } from './screens/review.js';
import { SettingsScreen } from './screens/settings.js';
import { selfTest } from './selftest.js';
import { StatusBar } from './status_bar.js';
import { PRESETS } from './view3d.js';
import { Volume } from './volume.js';

const SCREENS = ['live', 'review', 'library', 'settings'];
const SETTINGS = { language: '', theme: 'dark', hand: 'right', quality: 'auto' };
const IMAGES_KEPT = 8; // a pose comes some milliseconds after its image
const UNDO_S = 10;
const AGES_KEPT = 1000; // [when it was taken, how old it was when it was shown] in ms: what the benchmark reads

const settings = { ...SETTINGS, ...JSON.parse(localStorage.getItem('sonosweep') ?? '{}') };
const root = document.getElementById('app');

class App {
  constructor(me) {
    this.me = me;
    this.state = null;
    this.images = [];
    this.awake = new Awake();
    this.ages = [];
    this.lights = [];
    this.oxygen = null; // how they are unmixed: see unmixing.js
    this.unmixed = null; // while saturation is shown
    this.volume = new Volume('/page/js/worker.js');
    this.link = new Link(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/link`);
    this.volume.onack = (kind, seq) => this.link.ack(kind, seq);
    this.volume.onimage = (image) => this.image(image);
    for (const type of ['hello', 'epoch', 'path', 'pose', 'end', 'library', 'job', 'worklist', 'light']) this.link.addEventListener(type, ({ detail }) => this[type](detail));
    this.link.addEventListener('state', ({ detail }) => this.take(detail));
    this.link.addEventListener('binary', ({ detail }) => this.volume.binary(detail));
    this.link.addEventListener('status', () => this.update());
    setInterval(() => this.update(), 200); // what is old shows without a message
  }

  // Built at the first hello; a later one (the device came back) only tells again.
  hello(hello) {
    if (this.screens) return this.ask();
    if (hello.product) document.title = hello.product;
    document.body.dataset.off = Object.keys(hello.features).filter((name) => !hello.features[name]).join(' ');
    this.faults = new Faults();
    this.status = new StatusBar({ takeOperator: () => this.run('take_operator') });
    this.canvas = h('canvas', { class: 'scene', 'aria-label': t('view.3d'), role: 'img', tabindex: 0 });
    this.stage = h('div', { class: 'stage' }, this.canvas);
    this.scene = new Scene(this.canvas, this.volume, { words: { lateral: t('axis.lateral'), axial: t('axis.axial'), elevational: t('axis.elevational') } });
    this.shownLight = new Light(() => this.lit());
    const light = this.shownLight;
    const run = (name, words) => this.run(name, words);
    const command = (name, words) => this.link.command(name, words);
    const onrefused = (wrong) => this.toast(refusal(wrong), true);
    this.screens = {
      live: new LiveScreen({ hello, light, run, command, onrefused, onended: (sweep) => this.ended(sweep) }),
      review: new ReviewScreen({
        scene: this.scene, volume: this.volume, light, presets: Object.keys(PRESETS), run, download, upload, onleave: (id) => this.tossed(id), onrefused, hello, command, onmeasured: () => this.measures(), holds: (sweep) => this.holds(sweep),
      }),
      library: new LibraryScreen({ run, onopen: (sweep) => this.openSweep(sweep) }),
      settings: new SettingsScreen({ hello, settings, run, onsetting: (name, value) => this.setting(name, value), selfTest: () => selfTest(document.createElement('canvas')) }),
    };
    this.presets = hello.presets;
    light.holds(this.lights, this.oxygen);
    this.stage.append(this.screens.review.tools.svg);
    this.nav = Object.fromEntries(SCREENS.map((name) => [name, h('button', { class: 'tab', onclick: () => this.go(name) }, t(`nav.${name}`))]));
    this.snack = h('div', { class: 'snack', hidden: true });
    this.place = h('div', { class: 'place' });
    root.replaceChildren(this.status.element, this.faults.element, this.place, this.stage, h('nav', { 'aria-label': t('nav.title') }, Object.values(this.nav)), this.snack);
    this.sizes = new ResizeObserver(() => this.layout());
    this.go('live');
    this.ask();
  }

  // What a new link does not know of us.
  ask() {
    this.link.command('list');
    this.link.command('quality', { mode: settings.quality });
  }

  go(name) {
    this.screen = name;
    document.body.dataset.screen = name;
    for (const [one, tab] of Object.entries(this.nav)) tab.toggleAttribute('aria-current', one === name);
    const { element } = this.screens[name];
    this.place.replaceChildren(element);
    (element.querySelector('.panes, .grid') ?? this.place).append(this.faults.notes);
    this.sizes.disconnect();
    for (const one of [this.place, ...this.place.querySelectorAll('.pane')]) this.sizes.observe(one); // the guide of a sweep takes room from the panes alone
    if (name === 'live' && this.source && this.source !== 'live') this.run('open', { sweep: 'live' });
    if (name === 'review' && !this.screens.review.sweep) {
      const sweep = this.state?.sweep;
      if (!sweep || sweep.state === 'sweeping') return this.go('library');
      this.screens.review.open({ ...sweep }, this.screens.library.sweeps ? this.screens.library.find(sweep.id)?.measures : null);
    }
    if (name === 'review') this.match();
    if (name === 'library') this.link.command('list');
    this.screens.review.tools.choose('');
    this.shownLight.reviewing = name === 'review';
    this.lit();
    this.layout();
    this.update();
  }

  // The one canvas lies over the panes of the screen that is shown; each view gets its pane's place on it.
  layout() {
    const panes = [...this.place.querySelectorAll('.pane')].filter((pane) => pane.clientWidth && pane.clientHeight);
    show(this.stage, panes.length > 0);
    const views = { '3d': this.scene.view3d };
    for (const slice of this.scene.slices) views[slice.plane] = slice;
    for (const view of Object.values(views)) view.rect = null;
    if (!panes.length) return this.scene.resize();
    const boxes = panes.map((pane) => pane.getBoundingClientRect());
    const [left, top] = [Math.min(...boxes.map((b) => b.left)), Math.min(...boxes.map((b) => b.top))];
    const [right, bottom] = [Math.max(...boxes.map((b) => b.right)), Math.max(...boxes.map((b) => b.bottom))];
    Object.assign(this.stage.style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
    panes.forEach((pane, i) => {
      const { x, y, width, height } = boxes[i];
      views[pane.dataset.view].rect = { x: x - left, y: y - top, width, height };
    });
    this.scene.resize();
    this.screens.review.tools.draw();
  }

  async run(name, words) {
    try {
      return await this.link.command(name, words);
    } catch (wrong) {
      this.toast(refusal(wrong), true);
      return null;
    }
  }

  toast(text, urgent = false, undo = null) {
    const buttons = undo ? [h('button', { class: 'ghost', onclick: () => { show(this.snack, false); undo(); } }, t('undo'))] : [];
    this.snack.replaceChildren(h('span', {}, text), ...buttons);
    show(this.snack, true);
    say(text, urgent);
    clearTimeout(this.snackTimer);
    this.snackTimer = setTimeout(() => show(this.snack, false), 1000 * UNDO_S);
  }

  image(image) {
    if (!this.screens) return image.bitmap.close();
    this.screens.live.image.take(image);
    this.images.push(image);
    if (this.images.length > IMAGES_KEPT) this.images.shift().bitmap.close();
    this.ages.push([image.time_ms, this.link.age_ms(image.time_ms)]);
    if (this.ages.length > AGES_KEPT) this.ages.shift();
  }

  epoch(message) {
    this.source = message.source;
    this.screens?.review.filming?.abort();
    this.matched = false; // the next state says whose volume a live one is
    this.checked = null;
    this.volume.epoch(message);
    this.cover();
  }

  // Whether the volume is that sweep's: a live one where the state, which is told after it, names its epoch.
  holds({ id }) {
    const live = this.state?.sweep;
    return this.source === 'live' ? live?.id === id && live.epoch === this.volume.number : this.source === id;
  }

  // What is another sweep's is not seen under this one's name (nor one of the library under the live one), and nothing is measured in it.
  cover() {
    if (!this.screens) return;
    const { sweep, tools } = this.screens.review;
    const foreign = this.screen === 'review' ? Boolean(sweep) && !this.holds(sweep) : this.source !== 'live' || this.screens.live.anothers(this.state);
    if (foreign && !document.body.classList.contains('foreign')) tools.choose('');
    document.body.classList.toggle('foreign', foreign);
  }

  // The volume under a sweep's name, its patient and its measurements is that sweep's: where somebody began another one, or after a new link, it is opened again.
  async match() {
    const { sweep } = this.screens.review;
    this.matched = true;
    if (!sweep || this.holds(sweep)) return;
    this.screens.review.tools.choose('');
    if ((await this.run('open', { sweep: sweep.id })) || !this.link.open) return;
    this.screens.review.sweep = null;
    this.go('library');
  }

  // Of the volume: [[channel, nm], ...].
  light({ channels, oxygen }) {
    [this.lights, this.oxygen] = [channels, oxygen];
    this.shownLight?.holds(channels, oxygen);
  }

  lit() {
    if (!this.screens) return;
    const { oxygen, channel } = this.shownLight;
    if (oxygen !== this.unmixed) {
      this.unmixed = oxygen;
      this.volume.unmix(oxygen?.channels.length ? oxygen : null);
      this.scene.light = 0; // what was computed otherwise must not stay
      this.screens.review.oxygen.update();
    }
    this.scene.light = channel;
    this.screens.live.image.draw();
  }

  path({ poses }) {
    this.poses = poses;
    this.screens && (this.screens.review.path = poses);
    this.scene?.view3d.path(poses);
  }

  pose({ pose }) {
    this.poses.push(pose);
    this.scene?.view3d.addPose(pose);
    const at = this.images.findIndex(({ sequence, photoacoustic }) => sequence === pose[0] && !photoacoustic);
    if (at < 0 || !this.scene) return;
    const [{ bitmap }] = this.images.splice(at, 1); // the view closes it
    this.scene.view3d.image({ bitmap, matrix12: pose.slice(3), width: bitmap.width, height: bitmap.height });
  }

  async end({ epoch, crc32, bricks }) {
    const ours = await this.volume.checksum();
    this.checked = { epoch, same: ours.crc32 === crc32, bricks };
    this.volume.whole = epoch === this.volume.number && this.checked.same;
    this.screens?.review.oxygen.ask();
    await this.run('checked', { epoch, crc32: ours.crc32 });
  }

  take(state) {
    this.state = state;
    this.told = this.link.socket;
    this.awake.keep(state.live !== null);
    if (this.screen === 'review' && !this.matched) this.match();
    if (this.screens) this.measures();
    if (this.screens && state.preset !== this.preset) {
      this.preset = state.preset;
      this.screens.review.showAs(this.presets[state.preset].view);
    }
    this.update();
  }

  library({ sweeps }) {
    this.screens.library.set(sweeps);
    const open = this.screens.review.sweep;
    const now = open && this.screens.library.find(open.id);
    this.measures();
    if (now) Object.assign(open, { state: now.state, direction: now.direction, direction_source: now.direction_source, exam: now.exam });
  }

  // They are of the volume as it was: from the moment at which it is built again there are none, on whichever tablet.
  measures() {
    const { review, library } = this.screens;
    const now = review.sweep && library.find(review.sweep.id);
    if (!now) return;
    const { id, state } = this.state?.sweep ?? {};
    this.rebuilt = id === now.id && (state === 'rebuilding' || (state === 'saving' && this.rebuilt));
    if (this.rebuilt) now.measures = [];
    else if (review.kept.waits) now.measures = review.tools.measures; // the list of it is yet to come
    review.hear(now.measures);
  }

  job(job) {
    if (job.error) this.toast(job.error, true);
    this.screens.review.progress(job);
  }

  worklist(told) {
    for (const { exam } of [this.screens.live, this.screens.review]) exam.worklist(told);
  }

  ended(sweep) {
    if (this.screen !== 'live') return; // who reviews another sweep is not torn from it
    this.screens.review.open({ ...sweep });
    this.go('review');
  }

  async openSweep(sweep) {
    if (!(await this.run('open', { sweep: sweep.id }))) return;
    this.screens.review.open({ ...sweep }, sweep.measures);
    this.go('review');
  }

  tossed(id) {
    this.screens.review.sweep = null;
    this.toast(t('review.tossed'), false, () => this.run('restore', { sweep: id }));
    this.go('live');
  }

  async setting(name, value) {
    settings[name] = value;
    localStorage.setItem('sonosweep', JSON.stringify(settings));
    if (name === 'quality') return this.run('quality', { mode: value });
    if (name === 'language') return location.reload();
    dress();
    this.layout();
  }

  update() {
    if (!this.screens) return;
    this.cover();
    const fresh = this.link.open && this.told === this.link.socket; // not what was told before the link was lost
    const live = this.link.open ? this.state : this.state && { ...this.state, live: null };
    const whose = this.screen === 'review' && this.screens.review.sweep; // the patient in the bar is that of what is shown
    this.status.update(this.state && { ...this.state, ...(whose && { exam: whose.exam ?? {} }) }, this.link.open, this.link.delay_ms);
    if (this.state) this.faults.update(this.state.faults);
    this.screens.live.update(live, this.link.open, fresh);
    if (this.screen === 'review') this.screens.review.update(this.state, fresh);
    if (this.screen === 'settings') this.screens.settings.update(this.state);
  }
}

function dress() {
  document.documentElement.dataset.theme = settings.theme;
  document.body.dataset.hand = settings.hand;
}

function download(sweep, name) {
  const link = h('a', { href: `/api/sweeps/${sweep}/files/${encodeURIComponent(name)}`, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

async function upload(sweep, blob, name) {
  const answer = await fetch(`/api/sweeps/${sweep}/pictures?name=${encodeURIComponent(name.split('.')[0])}`, { method: 'POST', headers: { 'Content-Type': blob.type.split(';')[0] }, body: blob }).catch(() => { throw { error: 'LINK_LOST' }; });
  const told = await answer.json();
  if (!answer.ok) throw told;
  return told;
}

async function start() {
  await setLanguage(settings.language);
  dress();
  if (location.protocol === 'https:') navigator.serviceWorker?.register('/sw.js');
  let me = await (await fetch('/api/me')).json();
  const secret = secretInAddress();
  if (!me.paired && secret) {
    try {
      me = { ...me, ...(await pair({ secret, name: t('pair.this_tablet') })), paired: true };
    } catch (wrong) {
      say(refusal(wrong), true);
    }
  }
  const begin = () => (globalThis.sonosweep = new App(me));
  if (me.paired) return begin();
  const screen = pairScreen(me, { onpaired: (told) => { me = { ...me, ...told }; begin(); } });
  root.replaceChildren(screen.element);
}

start();
