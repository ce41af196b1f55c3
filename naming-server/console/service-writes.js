// Changes to services and instances. Each asks first and says what became of it.

import { own, paths, write } from './api.js';
import { ask } from './dialog.js';
import { t } from './text.js';

const addressOf = (one) => `${one.ip}:${one.port}`;

const instanceKey = (key, one) => ({ ...key, ip: one.ip, port: one.port, clusterName: one.clusterName, ephemeral: one.ephemeral });

/** Sets what is given of an instance; the rest stays as it is. */
const patch = (key, one, values) => write('PUT', own('instance'), { ...instanceKey(key, one), weight: one.weight, enabled: one.enabled, ...values });

export function setOnline(key, one) {
  const enabled = !one.enabled;
  return ask({
    title: enabled ? t('Bring {0} online?', addressOf(one)) : t('Take {0} offline?', addressOf(one)),
    text: enabled ? t('Clients will be given this instance again.') : t('Clients are told at once not to use this instance. It stays registered, and stays offline when its client registers again.'),
    confirm: enabled ? t('Bring online') : t('Take offline'),
    run: () => patch(key, one, { enabled }),
    done: enabled ? t('{0} is online.', addressOf(one)) : t('{0} is offline.', addressOf(one)),
  });
}

export function changeWeight(key, one) {
  return ask({
    title: t('Weight of {0}', addressOf(one)),
    text: t('The share of calls that this instance gets, from 0 to 10000; 0 for none.'),
    fields: [{ name: 'weight', label: t('Weight'), type: 'number', value: String(one.weight), required: true }],
    run: ({ weight }) => patch(key, one, { weight }),
    done: t('The weight of {0} is changed.', addressOf(one)),
  });
}

/** The metadata that was typed, as an object of texts. */
function readMetadata(text) {
  let read;
  try {
    read = JSON.parse(text || '{}');
  } catch {
    throw new Error(t('This is no JSON object.'));
  }
  if (read === null || typeof read !== 'object' || Array.isArray(read)) throw new Error(t('This is no JSON object.'));
  return read;
}

export function changeMetadata(key, one) {
  const before = one.metadata ?? {};
  return ask({
    title: t('Metadata of {0}', addressOf(one)),
    text: t('What you change here outlasts the next registration of the client.'),
    fields: [{ name: 'metadata', label: t('A JSON object'), type: 'area', value: JSON.stringify(before, null, 2) }],
    async run({ metadata }) {
      const after = readMetadata(metadata);
      const changed = Object.entries(after).filter(([name, value]) => before[name] !== String(value));
      const gone = Object.entries(before).filter(([name]) => !(name in after));
      if (changed.length) await patch(key, one, { metadata: JSON.stringify(Object.fromEntries(changed)) });
      if (gone.length) {
        const { ip, port, clusterName, ephemeral } = one;
        await write('DELETE', own('instance/metadata'), {
          ...key, metadata: JSON.stringify(Object.fromEntries(gone.map(([name]) => [name, '']))), instances: JSON.stringify([{ ip, port, clusterName, ephemeral }]),
        });
      }
    },
    done: t('The metadata of {0} is changed.', addressOf(one)),
  });
}

export function deregister(key, one) {
  return ask({
    title: t('Deregister {0}?', addressOf(one)),
    text: t('The instance is removed for good.'),
    confirm: t('Deregister'),
    isDanger: true,
    run: () => write('DELETE', own('instance'), instanceKey(key, one)),
    done: t('{0} is deregistered.', addressOf(one)),
  });
}

const selectorFields = (selector) => [
  { name: 'selector', label: t('Selector'), value: selector?.type === 'label' ? 'label' : 'none', options: ['none', 'label'] },
  { name: 'expression', label: t('Expression of the selector'), value: selector?.expression ?? '' },
];

const settingsFields = (settings) => [
  { name: 'protectThreshold', label: t('Protect threshold'), type: 'number', value: String(settings.protectThreshold ?? 0), hint: t('From 0 to 1: if no larger share is healthy, all are shown as healthy.') },
  { name: 'metadata', label: t('Metadata, a JSON object'), type: 'area', value: JSON.stringify(settings.metadata ?? {}, null, 2) },
  ...selectorFields(settings.selector),
];

function settingsOf({ protectThreshold, metadata, selector, expression }) {
  readMetadata(metadata);
  return { protectThreshold, metadata, selector: JSON.stringify(selector === 'label' ? { type: 'label', expression } : { type: 'none' }) };
}

export function createService(namespaceId) {
  return ask({
    title: t('Create a service'),
    text: t('In the namespace {0}. A service that a client registers to comes into being by itself.', namespaceId),
    fields: [
      { name: 'serviceName', label: t('Name'), required: true },
      { name: 'groupName', label: t('Group'), value: 'DEFAULT_GROUP', required: true },
      { name: 'ephemeral', label: t('its instances are ephemeral'), type: 'checkbox', value: true },
      ...settingsFields({}),
    ],
    confirm: t('Create'),
    run: (values) => write('POST', paths.service, { namespaceId, serviceName: values.serviceName.trim(), groupName: values.groupName.trim(), ephemeral: values.ephemeral, ...settingsOf(values) }),
    done: t('The service is created.'),
  });
}

export function editService(key, settings) {
  return ask({
    title: t('Settings of {0}', key.serviceName),
    fields: settingsFields(settings),
    run: (values) => write('PUT', paths.service, { ...key, ephemeral: settings.ephemeral, ...settingsOf(values) }),
    done: t('The settings are changed.'),
  });
}

export function deleteService(key) {
  return ask({
    title: t('Delete {0}?', key.serviceName),
    text: t('Its settings are lost. A service that has instances is not deleted.'),
    confirm: t('Delete'),
    isDanger: true,
    run: () => write('DELETE', paths.service, key),
    done: t('The service is deleted.'),
  });
}

export function editCluster(key, cluster) {
  const checker = cluster.healthChecker ?? { type: 'TCP' };
  return ask({
    title: t('Cluster {0}', cluster.clusterName),
    text: t('How persistent instances of this cluster are checked. Ephemeral ones are judged by their beats and connections.'),
    fields: [
      { name: 'type', label: t('Health checker'), value: checker.type, options: [...new Set(['TCP', 'HTTP', 'NONE', checker.type])] },
      { name: 'path', label: t('Path (HTTP)'), value: checker.path ?? '' },
      { name: 'headers', label: t('Headers (HTTP)'), value: checker.headers ?? '' },
      { name: 'usesOwn', label: t('check the port of the instance'), type: 'checkbox', value: cluster.useInstancePortForCheck !== false },
      { name: 'checkPort', label: t('or this port'), type: 'number', value: String(cluster.healthyCheckPort ?? 80) },
      { name: 'metadata', label: t('Metadata, a JSON object'), type: 'area', value: JSON.stringify(cluster.metadata ?? {}, null, 2) },
    ],
    run(values) {
      readMetadata(values.metadata);
      const { path, headers } = values;
      const next = values.type === 'HTTP' ? { ...checker, type: 'HTTP', path, headers }
        : values.type === checker.type ? checker : { type: values.type };
      return write('PUT', paths.cluster, {
        ...key, clusterName: cluster.clusterName, checkPort: values.checkPort, useInstancePort4Check: values.usesOwn, healthChecker: JSON.stringify(next), metadata: values.metadata,
      });
    },
    done: t('The cluster is changed.'),
  });
}
