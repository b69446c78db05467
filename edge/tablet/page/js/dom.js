// Elements without a framework: h('button', {class: 'big', onclick: f}, 'text', child).

export function h(tag, props = {}, ...children) {
  const svg = ['svg', 'path', 'line', 'circle', 'polygon', 'polyline', 'rect', 'text', 'g'].includes(tag);
  const element = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Write only what changed: a screen reader repeats what is written again.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, on) {
  element.hidden = !on;
}

export function field(label, input) {
  return h('label', { class: 'field' }, h('span', {}, label), input);
}

export function say(text, urgent = false) {
  setText(document.getElementById(urgent ? 'urgent' : 'polite'), text);
}

// A question that must be answered; resolves with true or false.
export function ask(question, yes, no, danger = false) {
  return dialogue(h('p', {}, question), question, yes, no, danger ? 'danger' : 'primary');
}

// Resolves with what was typed; null where it was called off.
export async function askText(question, yes, no) {
  const input = h('input', { maxlength: 500 });
  return (await dialogue(field(question, input), question, yes, no)) ? input.value.trim() : null;
}

// Rows to choose one of: each an array of texts, the first in bold. Resolves with its number; null where it was called off.
export function choose(title, rows, note, no) {
  return new Promise((resolve) => {
    const close = (answer) => {
      dialog.close();
      dialog.remove();
      resolve(answer);
    };
    const list = rows.map(([first, ...rest], n) => h('li', {}, h('button', { class: 'choice', type: 'button', onclick: () => close(n) },
      h('strong', {}, first), rest.filter(Boolean).map((text) => h('span', { class: 'fine' }, text)))));
    const dialog = h('dialog', { class: 'ask', 'aria-label': title, oncancel: () => close(null) }, h('h2', {}, title), h('ul', { class: 'choices' }, list),
      note ? h('p', { class: 'warn' }, note) : null, h('div', { class: 'row' }, h('button', { class: 'ghost', type: 'button', onclick: () => close(null) }, no)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

function dialogue(content, name, yes, no, look = 'primary') {
  return new Promise((resolve) => {
    const close = (answer) => {
      dialog.close();
      dialog.remove();
      resolve(answer);
    };
    const form = h('form', { onsubmit: (event) => { event.preventDefault(); close(true); } }, content,
      h('div', { class: 'row' }, h('button', { class: 'ghost', type: 'button', onclick: () => close(false) }, no), h('button', { class: look }, yes)));
    const dialog = h('dialog', { class: 'ask', 'aria-label': name, oncancel: () => close(false) }, form);
    document.body.append(dialog);
    dialog.showModal();
  });
}
