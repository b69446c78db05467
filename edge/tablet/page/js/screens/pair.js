// Let this tablet in: by the secret in the QR code's address, or by the eight digits that the device shows.

import { field, h, say, setText, show } from '../dom.js';
import { t } from '../i18n.js';
import { refusal } from '../faults.js';

export async function pair(body) {
  const answer = await fetch('/api/pair', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  const told = await answer.json();
  if (!answer.ok) throw told;
  return told;
}

export function secretInAddress() {
  const secret = /^#pair=([\w-]+)$/.exec(location.hash)?.[1] ?? '';
  if (secret) history.replaceState(null, '', '/'); // it works once; nobody shall bookmark it
  return secret;
}

export function pairScreen(me, { onpaired }) {
  const code = h('input', { inputmode: 'numeric', autocomplete: 'one-time-code', maxlength: 9, class: 'code', required: true, id: 'pair-code' });
  const name = h('input', { value: t('pair.this_tablet'), maxlength: 40, id: 'pair-name' });
  const wrong = h('p', { class: 'wrong', role: 'alert', hidden: true });
  const form = h('form', { class: 'card pair' },
    h('h1', {}, t('pair.title')), h('p', {}, t('pair.how')),
    field(t('pair.code'), code), field(t('pair.name'), name), wrong,
    h('button', { class: 'primary big', type: 'submit' }, t('pair.go')),
    me.secure ? h('a', { href: '/trust' }, t('pair.trust')) : h('p', { class: 'warn' }, t('pair.plain')),
    h('p', { class: 'fine' }, t('research')));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    show(wrong, false);
    try {
      onpaired(await pair({ code: code.value.replace(/\D/g, ''), name: name.value }));
    } catch (refused) {
      setText(wrong, refusal(refused));
      show(wrong, true);
      say(refusal(refused), true);
      code.select();
    }
  });
  return { element: h('main', { class: 'screen pair-screen' }, form), update() {} };
}
