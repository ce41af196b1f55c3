// Tables, pages of tables, badges and the like.

import { h } from './dom.js';
import { number, t } from './text.js';

/**
 * A table. `columns` are `{label, cell, kind}`, where `kind` is `number`, `time`, `wide` or `actions`; `key` tells rows
 * apart over updates.
 */
export function table({ caption, columns, rows, key, empty }) {
  if (!rows.length) return h('p', { class: 'empty' }, empty ?? t('There is nothing here.'));
  const kind = (column) => ({ number: 'number', actions: 'actions-cell wide', time: 'time', wide: 'wide' })[column.kind];
  return h('table', {},
    h('caption', {}, caption),
    h('thead', {}, h('tr', {}, columns.map((column) => h('th', { scope: 'col', class: kind(column) }, column.label)))),
    h('tbody', {}, rows.map((row) => h('tr', { 'data-key': key?.(row) },
      columns.map((column) => h('td', { class: kind(column), 'data-label': column.label }, h('div', {}, column.cell(row))))))));
}

/** Buttons that lead to other pages of a list. */
export function pager({ page, size, count, go }) {
  const last = Math.max(1, Math.ceil(count / size));
  return h('nav', { class: 'pages', 'aria-label': t('Pages') },
    h('button', { class: 'small', disabled: page <= 1, onclick: () => go(page - 1, size) }, t('Previous')),
    h('span', {}, t('Page {0} of {1}, {2} in all', number(page), number(last), number(count))),
    h('button', { class: 'small', disabled: page >= last, onclick: () => go(page + 1, size) }, t('Next')),
    h('label', {}, t('On a page'), ' ',
      h('select', { value: String(size), onchange: (event) => go(1, Number(event.target.value)) },
        [20, 50, 100].map((one) => h('option', { value: one }, one)))));
}

export const badge = (text, kind = '') => h('span', { class: `badge ${kind}` }, text);

/** An address and a port. */
export const address = (one) => {
  const text = `${one.ip}:${one.port}`;
  return h('span', { class: text.length < 25 ? 'mono short' : 'mono' }, text);
};

/** Members whose part of a view of all is missing, each with the reason. */
export function unanswered(list) {
  if (!list?.length) return null;
  return h('p', { class: 'notice warn', role: 'status' },
    t('This is not all of it. Missing is what these members know:'), ' ',
    list.map(({ address: member, reason }) => `${member} (${reasons()[reason] ?? reason})`).join(', '));
}

const reasons = () => ({
  'it is down': t('down'),
  'no answer in time': t('no answer'),
  'cannot say now': t('busy'),
  'it runs an earlier release': t('an earlier release'),
  'it is a server of another make, which is not asked': t('not asked: a server of another make'),
  'told a part of it only: the whole has too many bytes': t('told a part only'),
});

/** Choice of a member, or of all. `known` are the members that a view is of. */
export const memberField = (known, chosen) => ({
  name: 'member', label: t('Member'),
  options: [['', t('all')], ...[...new Set([...known, chosen].filter(Boolean))].sort().map((one) => [one, one])],
});

export const yesNo = (is) => (is ? t('yes') : t('no'));

/** Entries of metadata. Those that an operator set are marked. */
export function tags(metadata, kept = {}) {
  const entries = Object.entries(metadata ?? {});
  if (!entries.length) return h('span', { class: 'soft' }, '–');
  const shown = entries.slice(0, 6).map(([name, value]) => h('span', {
    class: name in kept ? 'tag kept' : 'tag', title: name in kept ? t('set by an operator') : null,
  }, `${cut(name, 60)}=${cut(value, 80)}`));
  const rest = entries.length - shown.length;
  return h('div', { class: 'tags' }, shown, rest > 0 && h('span', { class: 'soft' }, t('and {0} more', rest)));
}

export const cut = (text, most) => (String(text).length > most ? `${String(text).slice(0, most)}…` : String(text));

/** A link to a page of the console with these parameters. */
export function link(page, parameters, ...children) {
  return h('a', { href: hash(page, parameters) }, ...children);
}

export function hash(page, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== ''));
  return `#/${page}${query.size ? `?${query}` : ''}`;
}

export const serviceLink = (one) => link('service', { namespace: one.namespaceId, group: one.groupName, name: one.serviceName ?? one.name },
  one.groupName === 'DEFAULT_GROUP' ? one.serviceName ?? one.name : `${one.groupName} / ${one.serviceName ?? one.name}`);

/** A search form: fields as of a dialog, `go` is given their values when it is sent. */
export function searchForm({ label, fields, values, go }) {
  const submit = (event) => {
    event.preventDefault();
    const entries = fields.map(({ name }) => event.currentTarget.elements[name])
      .map((input) => [input.name, input.type === 'checkbox' ? (input.checked ? 'true' : '') : input.value.trim()]);
    go(Object.fromEntries(entries));
  };
  return h('form', { class: 'row', role: 'search', 'aria-label': label, onsubmit: submit },
    fields.map(({ name, label: text, type = 'search', options, placeholder }) => h('label', { class: type === 'checkbox' ? 'field check' : 'field' },
      type === 'checkbox' ? [h('input', { name, type, checked: values[name] === 'true' }), text] : [text, options
        ? h('select', { name, value: values[name] ?? '' }, options.map(([value, shown]) => h('option', { value }, shown)))
        : h('input', { name, type, value: values[name] ?? '', placeholder, autocomplete: 'off', spellcheck: 'false' })])),
    h('button', { class: 'main', type: 'submit' }, t('Search')));
}
