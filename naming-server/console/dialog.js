// Questions before a write, and what became of it.

import { h } from './dom.js';
import { t } from './text.js';

/** Says something to all, also to those who do not see it. */
export function say(text, isBad = false) {
  const toast = h('div', { class: isBad ? 'toast bad' : 'toast' }, h('span', {}, text),
    h('button', { 'aria-label': t('Close'), onclick: () => toast.remove() }, '×'));
  const toasts = document.getElementById('toasts');
  toasts.append(toast);
  while (toasts.childElementCount > 4) toasts.firstElementChild.remove();
  setTimeout(() => toast.remove(), isBad ? 15000 : 6000);
}

export function reasonOf(failure) {
  if (failure.status === 0) return t('The server does not answer.');
  const text = failure.message || t('The server refused it.');
  return failure.status ? `${text} (${failure.status})` : text;
}

/**
 * Asks before a write, carries it out, and says what became of it. `fields` are
 * `{name, label, value, type, options, hint, required}`; `run` is given their values. True if done.
 */
export function ask({ title, text, fields = [], confirm, isDanger, run, done }) {
  return new Promise((resolve) => {
    const inputs = new Map();
    const error = h('p', { class: 'error', role: 'alert' });
    const apply = h('button', { type: 'submit', class: isDanger ? 'danger' : 'main' }, confirm ?? t('Confirm'));
    const cancel = h('button', { type: 'button', onclick: () => dialog.close() }, t('Cancel'));
    let isDone = false;
    const submit = async (event) => {
      event.preventDefault();
      const values = Object.fromEntries([...inputs].map(([name, input]) => [name, input.type === 'checkbox' ? input.checked : input.value]));
      apply.disabled = true;
      error.textContent = '';
      try {
        await run(values);
        isDone = true;
        dialog.close();
        say(done ?? t('Done.'));
      } catch (failure) {
        error.textContent = reasonOf(failure);
        apply.disabled = false;
      }
    };
    const dialog = h('dialog', { 'aria-labelledby': 'dialog-title' },
      h('form', { onsubmit: submit },
        h('h2', { id: 'dialog-title' }, title),
        text && h('p', {}, text),
        fields.map((field) => fieldOf(field, inputs)),
        error,
        h('div', { class: 'actions' }, cancel, apply)));
    const opener = document.activeElement;
    dialog.addEventListener('close', () => {
      dialog.remove();
      opener?.focus?.();
      resolve(isDone);
    });
    document.body.append(dialog);
    dialog.showModal();
    // What cannot be undone is not one press of a key away.
    ([...inputs.values()][0] ?? (isDanger ? cancel : apply)).focus();
  });
}

function fieldOf({ name, label, value = '', type = 'text', options, hint, required, autocomplete }, inputs) {
  let input;
  if (options) input = h('select', { name, value }, options.map((option) => h('option', { value: option.value ?? option }, option.label ?? option)));
  else if (type === 'area') input = h('textarea', { name, spellcheck: 'false' }, value);
  else if (type === 'checkbox') input = h('input', { name, type, checked: value === true });
  else input = h('input', { name, type, value, required, step: type === 'number' ? 'any' : null, autocomplete: autocomplete ?? 'off' });
  inputs.set(name, input);
  return h('label', { class: type === 'checkbox' ? 'field check' : 'field' }, type === 'checkbox' ? [input, label] : [label, input], hint && h('span', {}, hint));
}
