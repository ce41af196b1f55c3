// Logging in, and the first administrator.

import { write } from './api.js';
import { h } from './dom.js';
import { reasonOf } from './dialog.js';
import { t } from './text.js';

function form({ title, note, action, run, newPassword }) {
  const error = h('p', { class: 'error', role: 'alert' });
  const name = h('input', { name: 'username', autocomplete: 'username', required: true, spellcheck: 'false' });
  const password = h('input', { name: 'password', type: 'password', required: true, autocomplete: newPassword ? 'new-password' : 'current-password' });
  const button = h('button', { type: 'submit', class: 'main' }, action);
  const submit = async (event) => {
    event.preventDefault();
    error.textContent = '';
    button.disabled = true;
    try {
      await run(name.value, password.value);
    } catch (failure) {
      error.textContent = reasonOf(failure);
      button.disabled = false;
    }
  };
  return h('form', { class: 'card', onsubmit: submit, 'data-key': title }, h('h1', {}, title), note && h('p', { class: 'note' }, note),
    h('label', { class: 'field' }, t('Name'), name), h('label', { class: 'field' }, t('Password'), password), error, button);
}

const logIn = (username, password) => write('POST', 'v3/auth/user/login', { username, password });

export const login = (done) => form({
  title: t('Log in'),
  action: t('Log in'),
  run: async (username, password) => done(await logIn(username, password)),
});

export const firstAdministrator = (done) => form({
  title: t('The first administrator'),
  note: t('Nobody is known to this server yet. The first administrator is made at the machine of the server: open this page there, by localhost.'),
  action: t('Create and log in'),
  newPassword: true,
  run: async (username, password) => {
    await write('POST', 'v3/auth/user/admin', { username, password });
    await done(await logIn(username, password));
  },
});
