// Clients: connections to all members, and clients that are known by an address.

import { get, own } from './api.js';
import { h } from './dom.js';
import { address, link, memberField, pager, searchForm, serviceLink, table, unanswered } from './table.js';
import { number, t, time } from './text.js';

const clientLink = (one, ...text) => link('client', { id: one.clientId }, text);

export function clients({ parameters, go }) {
  const kind = parameters.kind === 'address' ? 'address' : 'connection';
  const page = Math.max(1, Number(parameters.page) || 1);
  const size = Number(parameters.size) || 50;
  const search = parameters.search || undefined;
  const member = parameters.member || undefined;
  return {
    title: () => t('Clients'),
    // A look at all addresses is a look at all services: only on demand.
    every: kind === 'connection' ? 5000 : 0,
    load: () => (kind === 'connection'
      ? get(own('clients'), { pageNo: page, pageSize: size, search, member })
      : get(own('addresses'), { pageSize: 100, search, member, after: parameters.after || undefined })),
    view(found) {
      return [
        h('h1', {}, t('Clients')),
        h('p', { class: 'note' }, kind === 'connection'
          ? t('Connections to all members, the newest first.')
          : t('Clients of 1.x, and persistent instances: they are known by an address, and by their SDK once they listen.')),
        searchForm({
          label: t('Clients'),
          values: { ...parameters, kind },
          go: (values) => go({ ...values, page: 1, after: '' }),
          fields: [
            { name: 'kind', label: t('Known by'), options: [['connection', t('a connection')], ['address', t('an address')]] },
            { name: 'search', label: kind === 'connection' ? t('SDK, application or address has') : t('Address begins with') },
            memberField(Object.keys(found.members ?? {}), parameters.member),
          ],
        }),
        unanswered(found.unanswered),
        h('section', { class: 'card' }, kind === 'connection' ? connections(found, page, size, go) : addresses(found, go)),
      ];
    },
  };
}

function connections(found, page, size, go) {
  return [table({
    caption: t('Connections'),
    rows: found.pageItems,
    key: (one) => one.clientId,
    empty: t('No client has a connection like that.'),
    columns: [
      { label: t('Client'), cell: (one) => clientLink(one, address(one)) },
      { label: t('SDK'), cell: (one) => one.version || '–' },
      { label: t('Application'), cell: (one) => one.appName || '–' },
      { label: t('Member'), cell: (one) => one.member },
      { label: t('Connected since'), kind: 'time', cell: (one) => time(one.connectedAt) },
      { label: t('Last heard'), kind: 'time', cell: (one) => time(one.lastActive) },
      { label: t('Publishes'), kind: 'number', cell: (one) => number(one.published) },
      { label: t('Listens to'), kind: 'number', cell: (one) => number(one.subscribed) },
      { label: t('Last push'), kind: 'time', cell: (one) => time(one.lastPush) },
      { label: t('Last ack'), kind: 'time', cell: (one) => time(one.lastAck) },
    ],
  }), pager({ page, size, count: found.totalCount, go: (next, length) => go({ page: next, size: length }) })];
}

function addresses(found, go) {
  return [table({
    caption: t('Clients'),
    rows: found.clients,
    key: (one) => one.clientId,
    empty: t('No client is known by an address like that.'),
    columns: [
      { label: t('Client'), cell: (one) => clientLink(one, one.clientId.replace(/#(true|false)$/, '')) },
      { label: t('Kind'), cell: (one) => (one.clientId.endsWith('#false') ? t('persistent') : t('ephemeral')) },
      { label: t('SDK'), cell: (one) => one.version || '–' },
      { label: t('Application'), cell: (one) => one.appName || '–' },
      { label: t('Publishes'), kind: 'number', cell: (one) => number(one.published) },
      { label: t('Listens to'), kind: 'number', cell: (one) => number(one.subscribed) },
    ],
  }), found.next && h('div', { class: 'pages' }, h('button', { class: 'small', onclick: () => go({ after: found.next }) }, t('Next')))];
}

export function client({ parameters }) {
  const id = parameters.id ?? '';
  return {
    title: () => t('Client'),
    every: 3000,
    load: () => get(own('client'), { clientId: id }),
    view(one) {
      return [
        h('h1', {}, one.ip ? `${one.ip}:${one.port}` : one.clientId),
        unanswered(one.unanswered),
        h('section', { class: 'card' }, h('dl', { class: 'facts' },
          h('dt', {}, t('Id')), h('dd', { class: 'mono' }, one.clientId),
          h('dt', {}, t('SDK')), h('dd', {}, one.version || '–'),
          h('dt', {}, t('Application')), h('dd', {}, one.appName || '–'),
          one.member && [h('dt', {}, t('Member')), h('dd', {}, one.member)],
          one.connectedAt && [h('dt', {}, t('Connected since')), h('dd', {}, time(one.connectedAt))],
          h('dt', {}, t('Last heard')), h('dd', {}, time(one.lastActive)),
          'lastPush' in one && [h('dt', {}, t('Last push')), h('dd', {}, time(one.lastPush)), h('dt', {}, t('Last ack')), h('dd', {}, time(one.lastAck))])),
        h('section', { class: 'card' }, h('h2', {}, t('Publishes')), table({
          caption: t('Publishes'),
          rows: one.publications,
          key: (item) => `${item.namespaceId}##${item.groupName}@@${item.serviceName} ${item.ip}:${item.port} ${item.clusterName}`,
          empty: t('It has registered nothing.'),
          columns: [
            { label: t('Service'), cell: (item) => serviceLink(item) },
            { label: t('Namespace'), cell: (item) => item.namespaceId },
            { label: t('Instance'), cell: address },
            { label: t('Cluster'), cell: (item) => item.clusterName },
          ],
        })),
        h('section', { class: 'card' }, h('h2', {}, t('Listens to')), table({
          caption: t('Listens to'),
          rows: one.subscriptions,
          key: (item) => `${item.namespaceId}##${item.groupName}@@${item.serviceName}`,
          empty: t('It listens to nothing.'),
          columns: [
            { label: t('Service'), cell: (item) => serviceLink(item) },
            { label: t('Namespace'), cell: (item) => item.namespaceId },
          ],
        })),
      ];
    },
  };
}
