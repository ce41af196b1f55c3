// Namespaces, switches, and who changed what.

import { get, own, paths, write } from './api.js';
import { h } from './dom.js';
import { ask } from './dialog.js';
import { badge, cut, link, table, unanswered } from './table.js';
import { t, time } from './text.js';

const nameFields = (one = {}) => [
  { name: 'namespaceName', label: t('Name'), value: one.namespaceShowName ?? '', required: true },
  { name: 'namespaceDesc', label: t('Description'), value: one.namespaceDesc ?? '' },
];

export function namespaces({ ask: again }) {
  const after = (write) => write.then((isDone) => { if (isDone) again(); });
  const create = () => ask({
    title: t('Create a namespace'),
    fields: [{ name: 'id', label: t('Id'), required: true, hint: t('Letters, digits, - and _') }, ...nameFields()],
    confirm: t('Create'),
    run: ({ id, namespaceName, namespaceDesc }) => write('POST', paths.namespace, { namespaceId: id, customNamespaceId: id, namespaceName, namespaceDesc }),
    done: t('The namespace is created.'),
  });
  return {
    title: () => t('Namespaces'),
    every: 10000,
    load: () => get(own('namespaces')),
    view: (list) => [
      h('div', { class: 'head' }, h('h1', {}, t('Namespaces')), h('button', { class: 'main', onclick: () => after(create()) }, t('Create a namespace'))),
      h('p', { class: 'note' }, t('Names for people. Any namespace id works, with a name or without.')),
      h('section', { class: 'card' }, table({
        caption: t('Namespaces'),
        rows: list,
        key: (one) => one.namespace,
        columns: [
          { label: t('Id'), cell: (one) => h('span', { class: 'mono' }, one.namespace) },
          { label: t('Name'), cell: (one) => link('services', { namespace: one.namespace }, one.namespaceShowName) },
          { label: t('Description'), cell: (one) => one.namespaceDesc || '–' },
          {
            label: t('Actions'), kind: 'actions', cell: (one) => one.type !== 0 && h('div', { class: 'actions' },
              h('button', {
                class: 'small', onclick: () => after(ask({
                  title: t('Namespace {0}', one.namespace), fields: nameFields(one),
                  run: (values) => write('PUT', paths.namespace, { namespaceId: one.namespace, ...values }), done: t('The namespace is changed.'),
                })),
              }, t('Edit')),
              h('button', {
                class: 'small danger', onclick: () => after(ask({
                  title: t('Delete {0}?', one.namespace), text: t('Only the name is forgotten: what is registered in it stays.'), confirm: t('Delete'), isDanger: true,
                  run: () => write('DELETE', paths.namespace, { namespaceId: one.namespace }), done: t('The namespace is deleted.'),
                })),
              }, t('Delete'))),
          },
        ],
      })),
    ],
  };
}

/** Switches by the name under which they are set, where that is not the one that is shown. */
const entryOf = { defaultPushCacheMillis: 'pushCacheMillis', healthCheckEnabled: 'check', checkTimes: 'healthCheckTimes', distroEnabled: 'distro' };
/** Those that one value sets. */
const settable = new Set(['clientBeatInterval', 'lightBeatEnabled', 'defaultCacheMillis', 'defaultPushCacheMillis', 'pushEnabled', 'healthCheckEnabled', 'checkTimes',
  'defaultInstanceEphemeral', 'overriddenServerStatus', 'distroEnabled', 'sendBeatOnly', 'autoChangeHealthCheckEnabled', 'distroThreshold', 'disableAddIP',
  'serviceStatusSynchronizationPeriodMillis', 'serverStatusSynchronizationPeriodMillis', 'distroServerExpiredMillis']);

export function switches({ ask: again }) {
  const change = (name, value) => ask({
    title: t('Switch {0}', name),
    text: t('It takes effect at once, on all members.'),
    fields: [{ name: 'value', label: t('Value'), value: value === null ? '' : String(value), options: typeof value === 'boolean' ? ['true', 'false'] : undefined }],
    run: (values) => write('PUT', own('switches'), { entry: entryOf[name] ?? name, value: values.value }),
    done: t('The switch {0} is set.', name),
  });
  const shown = (value) => (value === null ? '–' : typeof value === 'object' ? JSON.stringify(value) : String(value));
  return {
    title: () => t('Switches'),
    every: 10000,
    load: () => get(own('switches')),
    view: (object) => [
      h('h1', {}, t('Switches')),
      h('section', { class: 'card' }, table({
        caption: t('Switches'),
        rows: Object.entries(object).filter(([, value]) => value !== undefined).sort(([one], [other]) => Number(settable.has(other)) - Number(settable.has(one)) || one.localeCompare(other)),
        key: ([name]) => name,
        columns: [
          { label: t('Switch'), cell: ([name]) => h('span', { class: 'mono' }, name) },
          { label: t('Value'), cell: ([, value]) => h('span', { class: 'mono' }, cut(shown(value), 200)) },
          {
            label: t('Actions'), kind: 'actions', cell: ([name, value]) => settable.has(name) && h('button', {
              class: 'small', onclick: () => change(name, value).then((isDone) => { if (isDone) again(); }),
            }, t('Change')),
          },
        ],
      })),
    ],
  };
}

const outcomes = { ok: 'good', refused: 'warn', failed: 'bad' };

export function audit() {
  return {
    title: () => t('Audit'),
    every: 5000,
    load: () => get(own('audit'), { limit: 200 }),
    view: ({ changes, unanswered: silent }) => [
      h('h1', {}, t('Audit')),
      h('p', { class: 'note' }, t('Administrative changes that the members were asked for since they started. The audit files have all of them.')),
      unanswered(silent),
      h('section', { class: 'card' }, table({
        caption: t('Audit'),
        rows: changes,
        empty: t('Nobody has changed anything yet.'),
        columns: [
          { label: t('Time'), kind: 'time', cell: (one) => time(Date.parse(one.time)) },
          { label: t('Who'), cell: (one) => [one.user ?? '–', ' ', h('span', { class: 'soft' }, one.address)] },
          { label: t('Member'), cell: (one) => one.server },
          { label: t('What'), cell: (one) => one.action },
          { label: t('Outcome'), cell: (one) => badge(`${{ ok: t('done'), refused: t('refused'), failed: t('failed') }[one.outcome] ?? one.outcome} ${one.status ?? ''}`, outcomes[one.outcome]) },
          { label: t('About'), kind: 'wide', cell: (one) => h('div', { class: 'tags' }, Object.entries(one.parameters ?? {}).map(([name, value]) => h('span', { class: 'tag' }, `${name}=${cut(value, 80)}`))) },
        ],
      })),
    ],
  };
}
