'use strict';
// Drives the npm package nacos through the conformance checks: node check.js HOST:PORT PREFIX.

const assert = require('assert');

// The address the SDK asks pushes to be sent to, read when it is loaded: everything stays on this machine.
require(require.resolve('address', { paths: [require.resolve('nacos')] })).ip = () => '127.0.0.1';
const { NacosNamingClient } = require('nacos');

const [address, prefix] = process.argv.slice(2);
const METADATA = { zone: 'east 1', owner: 'Zoë' };
// Well below the 10 s after which this SDK polls: what arrives within it was pushed.
const PUSH_LIMIT_MS = 2_000;
// The SDK polls once, 1 s after a subscription.
const FIRST_POLL_MS = 1_500;
const BEAT_PERIOD_MS = 6_000;
const logger = { ...console, debug() {}, info() {}, log: console.error };

async function main() {
  const alongside = lifetime();
  await basics();
  await namespaces();
  await subscriptions();
  await alongside;
  process.exit(0);
}

async function basics() {
  const service = `${prefix}-basics`;
  const client = await newClient();
  const all = () => client.getAllInstances(service, undefined, '', false);
  await check('server-status', async () => {
    assert.equal(await client.getServerStatus(), 'UP');
  });
  await check('register', async () => {
    await client.registerInstance(service, { ip: '10.1.0.1', port: 8001, weight: 2.5, metadata: METADATA });
    await client.registerInstance(service, { ip: '10.1.0.2', port: 8002 });
  });
  await registerRaw(service, '10.1.0.3', 8003, false);
  await check('list', async () => {
    const hosts = await until(3_000, all, hosts => hosts.length === 3);
    assert.equal(find(hosts, '10.1.0.1').weight, 2.5);
    assert.deepEqual(find(hosts, '10.1.0.1').metadata, METADATA);
    assert.equal(find(hosts, '10.1.0.3').healthy, false);
  });
  await check('list-healthy', async () => {
    const hosts = await client.selectInstances(service, undefined, '', true, false);
    assert.deepEqual(hosts.map(host => host.ip).sort(), ['10.1.0.1', '10.1.0.2']);
  });
  await check('deregister', async () => {
    await client.deregisterInstance(service, { ip: '10.1.0.2', port: 8002 });
    await until(3_000, all, hosts => !find(hosts, '10.1.0.2'));
    // A beat sent before it must not bring the instance back.
    await sleep(BEAT_PERIOD_MS);
    assert.equal(find(await all(), '10.1.0.2'), undefined);
  });
}

async function namespaces() {
  const service = `${prefix}-spaces`;
  const one = await newClient(`${prefix}-one`);
  const two = await newClient(`${prefix}-two`);
  await check('namespaces', async () => {
    await one.registerInstance(service, { ip: '10.2.0.1', port: 8001 });
    await two.registerInstance(service, { ip: '10.2.0.2', port: 8002 });
    for (const [client, ip] of [[one, '10.2.0.1'], [two, '10.2.0.2']]) {
      const all = () => client.getAllInstances(service, undefined, '', false);
      await until(3_000, all, hosts => hosts.length === 1 && hosts[0].ip === ip);
    }
  });
}

async function subscriptions() {
  const provider = await newClient();
  const watched = await watch(provider, `${prefix}-watch`);
  await check('subscribe-appear', async () => {
    const start = Date.now();
    await provider.registerInstance(watched.service, { ip: '10.3.0.2', port: 8002 });
    await until(PUSH_LIMIT_MS, () => watched.hosts, hosts => hosts.length === 2);
    return `pushed after ${Date.now() - start} ms`;
  });
  await check('subscribe-vanish', async () => {
    assert(find(watched.hosts, '10.3.0.2'), 'it did not appear');
    const start = Date.now();
    await provider.deregisterInstance(watched.service, { ip: '10.3.0.2', port: 8002 });
    await until(PUSH_LIMIT_MS, () => watched.hosts, hosts => hosts.length === 1);
    return `pushed after ${Date.now() - start} ms`;
  });
  const crowd = await watch(provider, `${prefix}-crowd`);
  await check('subscribe-100', async () => {
    for (let number = 2; number <= 100; number++) {
      const metadata = { zone: `z${number % 3}` };
      await provider.registerInstance(crowd.service, { ip: `10.3.0.${number}`, port: 8000 + number, metadata });
    }
    const start = Date.now();
    const hosts = await until(PUSH_LIMIT_MS, () => crowd.hosts, hosts => hosts.length === 100);
    assert.deepEqual(find(hosts, '10.3.0.100').metadata, { zone: 'z1' });
    return `pushed ${Date.now() - start} ms after the last`;
  });
}

/** One instance that beats beside one that never does, for as long as the former takes to prove itself. */
async function lifetime() {
  const provider = await newClient();
  const start = Date.now();
  const watched = await watch(provider, `${prefix}-lifetime`);
  const silent = async () => {
    const silentStart = Date.now();
    const age = (least, what) => {
      const age = Date.now() - silentStart;
      assert(age >= least, `${what} after only ${age} ms`);
      return `${what} after ${age} ms`;
    };
    await check('expiry-unhealthy', async () => {
      await registerRaw(watched.service, '10.4.0.9', 8009, true);
      await until(5_000, () => watched.hosts, hosts => find(hosts, '10.4.0.9'));
      await until(24_000, () => watched.hosts, hosts => !find(hosts, '10.4.0.9').healthy);
      return age(14_000, 'unhealthy');
    });
    await check('expiry-removed', async () => {
      await until(24_000, () => watched.hosts, hosts => !find(hosts, '10.4.0.9'));
      return age(29_000, 'removed');
    });
  };
  const beats = () => check('beats', async () => {
    while (Date.now() - start < 42_000) {
      const listed = await provider.getAllInstances(watched.service, undefined, '', false);
      for (const hosts of [listed, watched.hosts]) {
        assert.equal(find(hosts, '10.3.0.1')?.healthy, true);
      }
      await sleep(500);
    }
  });
  await Promise.all([silent(), beats()]);
}

/** A service with one beating instance, 10.3.0.1:8001, and a subscriber to it that is past its first poll. */
async function watch(provider, service) {
  const watched = { service, hosts: [] };
  await provider.registerInstance(service, { ip: '10.3.0.1', port: 8001 });
  const consumer = await newClient();
  consumer.subscribe(service, hosts => { watched.hosts = hosts; });
  await until(3_000, () => watched.hosts, hosts => hosts.length === 1);
  await sleep(FIRST_POLL_MS);
  return watched;
}

async function newClient(namespace = 'public') {
  const client = new NacosNamingClient({ logger, serverList: address, namespace });
  await client.ready();
  return client;
}

/** Registers without the SDK, so that nobody beats for the instance. */
async function registerRaw(service, ip, port, healthy) {
  const query = new URLSearchParams({ serviceName: service, ip, port, healthy });
  const reply = await fetch(`http://${address}/nacos/v1/ns/instance?${query}`, { method: 'POST' });
  assert.equal(await reply.text(), 'ok');
}

async function until(limitMs, look, wanted) {
  const end = Date.now() + limitMs;
  let seen = await look();
  while (!wanted(seen) && Date.now() < end) {
    await sleep(10);
    seen = await look();
  }
  assert(wanted(seen), `not within ${limitMs} ms, last seen: ${JSON.stringify(seen)}`);
  return seen;
}

async function check(name, body) {
  const start = Date.now();
  const line = { check: name };
  try {
    line.detail = await body() ?? '';
    line.ok = true;
  } catch (error) {
    line.detail = String(error);
    line.ok = false;
  }
  line.millis = Date.now() - start;
  console.log(JSON.stringify(line));
}

function find(hosts, ip) {
  return hosts.find(host => host.ip === ip);
}

function sleep(milliseconds) {
  return new Promise(resolve => setTimeout(resolve, milliseconds));
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
