// One service: settings, clusters, instances, subscribers, events.

import { get, own, paths } from './api.js';
import { h } from './dom.js';
import { eventTable, timeline } from './events.js';
import { changeMetadata, changeWeight, deleteService, deregister, editCluster, editService, setOnline } from './service-writes.js';
import { address, badge, hash, link, pager, searchForm, table, tags } from './table.js';
import { number, t, time } from './text.js';

export function service({ parameters, go, ask }) {
  const { namespace = 'public', group = 'DEFAULT_GROUP', name = '' } = parameters;
  const key = { namespaceId: namespace, groupName: group, serviceName: name };
  const page = Math.max(1, Number(parameters.page) || 1);
  const size = Number(parameters.size) || 20;
  const after = (write) => write.then((isDone) => { if (isDone) ask(); });
  return {
    title: () => name,
    every: 2000,
    async load() {
      const [settings, instances, listeners, latest] = await Promise.all([
        get(paths.service, key),
        get(own('instances'), {
          ...key, pageNo: page, pageSize: size, address: parameters.address || undefined, clusterName: parameters.cluster || undefined,
          metadata: parameters.metadata || undefined, healthy: parameters.healthy || undefined, enabled: parameters.enabled || undefined,
        }),
        get(paths.subscribers, { ...key, pageNo: 1, pageSize: 100 }),
        get(own('events'), { ...key, limit: 100 }).catch(() => null),
      ]);
      return { settings, instances, listeners, latest };
    },
    view({ settings, instances, listeners, latest }) {
      const clusters = Object.values(settings.clusterMap ?? {});
      return [
        h('div', { class: 'head' }, h('h1', {}, name), h('div', { class: 'actions' },
          h('button', { onclick: () => after(editService(key, settings)) }, t('Edit')),
          h('button', { class: 'danger', onclick: () => deleteService(key).then((isDone) => { if (isDone) location.hash = hash('services', { namespace }); }) }, t('Delete')))),
        h('section', { class: 'card' }, facts(settings)),
        h('section', { class: 'card' }, h('h2', {}, t('Instances')),
          searchForm({
            label: t('Instances'),
            values: parameters,
            go: (values) => go({ ...values, page: 1 }),
            fields: [
              { name: 'address', label: t('Address'), placeholder: '10.0.0.1:8080' },
              { name: 'cluster', label: t('Cluster'), options: [['', t('all')], ...clusters.map((one) => [one.clusterName, one.clusterName])] },
              { name: 'healthy', label: t('Health'), options: [['', t('all')], ['true', t('healthy')], ['false', t('unhealthy')]] },
              { name: 'enabled', label: t('Online'), options: [['', t('all')], ['true', t('online')], ['false', t('offline')]] },
              { name: 'metadata', label: t('Metadata'), placeholder: 'zone=a' },
            ],
          }),
          instanceTable(key, instances.pageItems, after),
          pager({ page, size, count: instances.totalCount, go: (next, length) => go({ page: next, size: length }) })),
        h('section', { class: 'card' }, h('h2', {}, t('Why instances came and went')),
          latest ? [timeline(latest.events), eventTable(latest.events, false)] : h('p', { class: 'note' }, t('You may not see the events of this service.'))),
        h('section', { class: 'card' }, h('h2', {}, t('Clusters')), clusterTable(key, clusters, after)),
        h('section', { class: 'card' }, h('h2', {}, t('Subscribers')), subscriberTable(listeners)),
      ];
    },
  };
}

function facts(settings) {
  const { selector } = settings;
  return h('dl', { class: 'facts' },
    h('dt', {}, t('Namespace')), h('dd', {}, settings.namespaceId),
    h('dt', {}, t('Group')), h('dd', {}, settings.groupName),
    h('dt', {}, t('Kind')), h('dd', {}, settings.ephemeral ? t('ephemeral') : t('persistent')),
    h('dt', {}, t('Protect threshold')), h('dd', {}, String(settings.protectThreshold)),
    h('dt', {}, t('Selector')), h('dd', {}, selector?.type === 'label' ? h('span', { class: 'mono' }, selector.expression ?? '') : t('none')),
    h('dt', {}, t('Metadata')), h('dd', {}, tags(settings.metadata)));
}

function instanceTable(key, rows, after) {
  return table({
    caption: t('Instances'),
    rows,
    key: (one) => `${one.ip}:${one.port} ${one.clusterName} ${one.ephemeral}`,
    empty: t('No instance is like that.'),
    columns: [
      { label: t('Instance'), cell: address },
      { label: t('Cluster'), cell: (one) => one.clusterName },
      { label: t('Health'), cell: (one) => (one.healthy ? badge(t('healthy'), 'good') : badge(t('unhealthy'), 'bad')) },
      { label: t('Online'), cell: (one) => (one.enabled ? badge(t('online')) : badge(t('offline'), 'warn')) },
      { label: t('Weight'), kind: 'number', cell: (one) => number(one.weight) },
      { label: t('Metadata'), cell: (one) => tags(one.metadata, one.operatorValues?.metadata) },
      { label: t('Kept alive by'), kind: 'wide', cell: (one) => source(one) },
      {
        label: t('Actions'), kind: 'actions', cell: (one) => h('div', { class: 'actions' },
          h('button', { class: 'small', onclick: () => after(setOnline(key, one)) }, one.enabled ? t('Take offline') : t('Bring online')),
          h('button', { class: 'small', onclick: () => after(changeWeight(key, one)) }, t('Weight')),
          h('button', { class: 'small', onclick: () => after(changeMetadata(key, one)) }, t('Metadata')),
          !one.ephemeral && h('button', { class: 'small danger', onclick: () => after(deregister(key, one)) }, t('Deregister'))),
      },
    ],
  });
}

/** What keeps an instance: a connection, beats, or nothing. */
function source(one) {
  if (one.clientId) return link('client', { id: one.clientId }, t('a connection'));
  if (one.held) return t('a connection to another member');
  if (!one.ephemeral) return t('an operator: it is persistent');
  return [t('beats'), ', ', t('the last at {0}', time(one.lastBeat))];
}

function clusterTable(key, clusters, after) {
  return table({
    caption: t('Clusters'),
    rows: clusters,
    key: (one) => one.clusterName,
    columns: [
      { label: t('Cluster'), cell: (one) => one.clusterName },
      { label: t('Health checker'), cell: (one) => checker(one.healthChecker) },
      { label: t('Port that is checked'), cell: (one) => (one.useInstancePortForCheck ? t('that of the instance') : String(one.healthyCheckPort)) },
      { label: t('Metadata'), cell: (one) => tags(one.metadata) },
      { label: t('Actions'), kind: 'actions', cell: (one) => h('button', { class: 'small', onclick: () => after(editCluster(key, one)) }, t('Edit')) },
    ],
  });
}

const checker = (one) => [one?.type ?? 'TCP', one?.path && h('span', { class: 'mono' }, ` ${one.path}`)];

function subscriberTable(listeners) {
  return [
    table({
      caption: t('Subscribers'),
      rows: listeners.pageItems,
      key: (one) => `${one.address} ${one.agent}`,
      empty: t('Nobody listens to this service here.'),
      columns: [
        { label: t('Address'), cell: (one) => h('span', { class: 'mono' }, one.address ?? `${one.ip}:${one.port}`) },
        { label: t('SDK'), cell: (one) => one.agent },
        { label: t('Application'), cell: (one) => one.appName || '–' },
      ],
    }),
    listeners.totalCount > listeners.pageItems.length && h('p', { class: 'note' }, t('{0} in all; the first {1} are shown.', listeners.totalCount, listeners.pageItems.length)),
  ];
}
