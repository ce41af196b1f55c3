// One server without authentication.

import { fits, holds, isLabelled, isReadable, same } from './expect.mjs';
import { Client } from './grpc.mjs';
import { freePort, pause, Server, until } from './server.mjs';

/** Names and values that would be markup, a script, or wider than any screen. */
const HOSTILE = '"><img src=x onerror=window.hacked=1><script>window.hacked=1</script>';
const HOSTILE_SERVICE = 'a<img/src=x/onerror=window.hacked=1>b';
const NAMES = ['accounts', 'billing', 'cart', 'catalog', 'checkout', 'delivery', 'discounts', 'fraud', 'gateway', 'images', 'inventory', 'invoices', 'letters',
  'locations', 'notices', 'prices', 'profiles', 'ratings', 'refunds', 'reports', 'search', 'sessions', 'stock', 'suppliers', 'taxes', 'warehouse'];
const LONG = `service-${'with-a-long-name-'.repeat(9)}`;

export async function alone({ check, picture }) {
  const consolePort = await freePort();
  const server = await Server.start([`console.port=${consolePort}`]);
  const client = new Client(`127.0.0.1:${server.port + 1000}`);
  const at = (hash) => `${server.page}#/${hash}`;
  try {
    await fill(server, client);

    await check('the overview counts and tells what changed', async (open) => {
      const page = await open();
      await page.goto(server.page);
      await page.getByRole('heading', { name: 'Overview' }).waitFor();
      await page.getByText('Requests a second').waitFor();
      await page.getByRole('row', { name: /orders.*10\.0\.0\.7:8080.*replaced/ }).first().waitFor();
      await isLabelled(page, 'overview');
      await pause(6500);
      await picture(page, 'overview');
    });

    await check('the root and the path without a slash lead to the page', async (open) => {
      const page = await open();
      for (const path of ['/', '/nacos', '/nacos/index.html']) {
        await page.goto(`http://${server.address}${path}`);
        await page.getByRole('heading', { name: 'Overview' }).waitFor();
      }
    });

    await check('the port for consoles shows the same and takes the same changes', async (open) => {
      const page = await open();
      await page.goto(`http://127.0.0.1:${consolePort}/`);
      await page.getByRole('heading', { name: 'Overview' }).waitFor();
      await page.goto(`http://127.0.0.1:${consolePort}/#/service?name=payments`);
      const row = page.getByRole('row', { name: /10\.1\.0\.5:8080 DEFAULT/ });
      await row.getByRole('button', { name: 'Take offline' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Take offline' }).click();
      await row.getByText('offline', { exact: true }).waitFor();
      holds(!(await server.hosts('payments')).includes('10.1.0.5:8080'), 'it is still given to clients');
      for (const hash of ['clients', 'events', 'cluster', 'namespaces', 'switches', 'audit']) {
        await page.goto(`http://127.0.0.1:${consolePort}/#/${hash}`);
        await page.locator('main table').first().waitFor();
      }
    });

    await check('a service is found by the address of an instance', async (open) => {
      const page = await open();
      await page.goto(at('services'));
      await page.getByRole('link', { name: 'orders', exact: true }).waitFor();
      await picture(page, 'services');
      await page.getByLabel('Address of an instance').fill('10.1.0.3:8080');
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: '1 instances at 10.1.0.3:8080' }).waitFor();
      await page.getByRole('link', { name: 'payments', exact: true }).click();
      await page.getByRole('heading', { name: 'payments', level: 1 }).waitFor();
      await page.getByRole('cell', { name: '10.1.0.3:8080' }).first().waitFor();
    });

    await check('an instance is taken offline, is gone within a second, and comes back', async (open) => {
      const page = await open();
      await page.goto(at('service?namespace=public&group=DEFAULT_GROUP&name=orders'));
      const row = page.getByRole('row', { name: /10\.0\.0\.1:8080 DEFAULT/ });
      await row.getByRole('button', { name: 'Take offline' }).click();
      const dialog = page.getByRole('dialog');
      await dialog.getByRole('heading', { name: 'Take 10.0.0.1:8080 offline?' }).waitFor();
      holds((await server.hosts('orders')).includes('10.0.0.1:8080'), 'nothing is done before it is confirmed');
      const begun = Date.now();
      await dialog.getByRole('button', { name: 'Take offline' }).click();
      await until('the end of the instance', async () => !(await server.hosts('orders')).includes('10.0.0.1:8080'), 1000);
      await row.getByText('offline', { exact: true }).waitFor({ timeout: 1000 });
      holds(Date.now() - begun < 1000, `it took ${Date.now() - begun} ms`);
      await page.getByRole('status').getByText('10.0.0.1:8080 is offline.').waitFor();
      // Its client registers anew, and it stays offline.
      await server.register('orders', '10.0.0.1', 8080, { metadata: 'zone=a' });
      holds(!(await server.hosts('orders')).includes('10.0.0.1:8080'), 'it came back with its client');
      await row.getByRole('button', { name: 'Bring online' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Bring online' }).click();
      await row.getByText('online', { exact: true }).waitFor();
      holds((await server.hosts('orders')).includes('10.0.0.1:8080'), 'it does not come back');
    });

    await check('weight and metadata are changed, and a bad value is refused in words', async (open) => {
      const page = await open({ allowed: ['400 (Bad Request)'] });
      await page.goto(at('service?namespace=public&group=DEFAULT_GROUP&name=orders'));
      const row = page.getByRole('row', { name: /10\.0\.0\.2:8080 DEFAULT/ });
      await row.getByRole('button', { name: 'Weight' }).click();
      await page.getByRole('dialog').getByLabel('Weight').fill('20000');
      await page.keyboard.press('Enter');
      await page.getByRole('alert').getByText('The weights range from 0.0 to 10000.0').waitFor();
      await page.getByRole('dialog').getByLabel('Weight').fill('2.5');
      await page.keyboard.press('Enter');
      await row.getByRole('cell', { name: '2.5' }).waitFor();
      await row.getByRole('button', { name: 'Metadata' }).click();
      await page.getByRole('dialog').getByLabel('A JSON object').fill('{"colour": "green"}');
      await page.getByRole('dialog').getByRole('button', { name: 'Confirm' }).click();
      await row.getByText('colour=green').waitFor();
      await row.getByText('zone=a').waitFor({ state: 'detached' });
    });

    await check('why an instance went stands on the page of its service', async (open) => {
      const page = await open();
      await server.register('orders', '10.0.0.9', 8080, {
        metadata: JSON.stringify({ 'preserved.heart.beat.interval': '1000', 'preserved.heart.beat.timeout': '1000', 'preserved.ip.delete.timeout': '2000' }),
      }, false);
      await page.goto(at('service?namespace=public&group=DEFAULT_GROUP&name=orders'));
      await page.getByRole('row', { name: /10\.0\.0\.9:8080.*expired.*no beat for 2 s: removed/ }).waitFor();
      await page.getByRole('img', { name: /events since/ }).waitFor();
      await server.call('DELETE', 'v2/ns/instance?serviceName=orders&ip=10.0.0.8&port=8080', { 'user-agent': 'Nacos-Go-Client:v1.1.4' });
      await page.getByRole('row', { name: /10\.0\.0\.8:8080.*deregistered.*127\.0\.0\.1 Nacos-Go-Client:v1\.1\.4/ }).waitFor();
      await picture(page, 'service');
      await page.evaluate(() => window.scrollTo(0, 700));
      await picture(page, 'service-events');
    });

    await check('a client is followed from its connection to what it does', async (open) => {
      const page = await open();
      await page.goto(at('clients'));
      const row = page.getByRole('row', { name: /Nacos-Rust-Client:v0\.8\.0/ });
      await row.getByText('shop').waitFor();
      await picture(page, 'clients');
      await row.getByRole('link').click();
      await page.getByRole('heading', { name: /^127\.0\.0\.1:/ }).waitFor();
      await page.getByRole('link', { name: 'payments' }).waitFor();
      await page.getByRole('link', { name: 'orders' }).waitFor();
      for (const fact of ['Last push', 'Last ack']) {
        const value = page.locator('dt', { hasText: fact }).locator('xpath=following-sibling::dd[1]');
        await until(`${fact} of the client`, async () => /\d/.test(await value.textContent()));
      }
      await listen(server);
      await page.goto(at('clients?kind=address&search=127.0.0.1'));
      await page.getByRole('row', { name: /Nacos-Java-Client:v1\.4\.8/ }).waitFor();
      await page.goto(at('service?namespace=public&group=DEFAULT_GROUP&name=payments'));
      await page.getByRole('row', { name: /10\.2\.0\.1:9000/ }).first().getByRole('link', { name: 'a connection' }).waitFor();
    });

    await check('both themes are readable, and the choice stays', async (open) => {
      const page = await open();
      for (const theme of ['dark', 'light']) {
        await page.goto(at('services'));
        await page.getByRole('link', { name: 'orders', exact: true }).waitFor();
        await page.getByLabel('Theme').selectOption(theme);
        await page.reload();
        await page.getByRole('link', { name: 'orders', exact: true }).waitFor();
        same(await page.evaluate(() => document.documentElement.dataset.theme), theme);
        for (const hash of ['overview', 'services', 'service?namespace=public&group=DEFAULT_GROUP&name=orders', 'clients', 'switches', 'audit']) {
          await page.goto(at(hash));
          await page.locator('main table').first().waitFor();
          await isReadable(page, `${hash}, ${theme}`);
          if (theme === 'dark' && hash.startsWith('service?')) await picture(page, 'service-dark');
        }
      }
    });

    await check('the page speaks Chinese', async (open) => {
      const page = await open();
      await page.goto(at('services'));
      await page.getByLabel('Language').selectOption('zh');
      await page.getByRole('heading', { name: '服务', exact: true }).waitFor();
      same(await page.evaluate(() => document.documentElement.lang), 'zh-CN');
      await page.reload();
      await page.getByRole('link', { name: '概览' }).waitFor();
      await page.goto(at('overview'));
      await page.getByText('每秒请求数').waitFor();
      await fits(page, 'overview in Chinese');
    });

    await check('hostile names and values are texts', async (open) => {
      const page = await open({ allowed: ['400 (Bad Request)'] });
      await harm(server);
      const service = `service?namespace=public&group=DEFAULT_GROUP&name=${encodeURIComponent(HOSTILE_SERVICE)}`;
      for (const hash of ['services', service, 'overview', 'events', 'clients?kind=address', 'audit', `services?address=${encodeURIComponent('10.6.6.6')}`, `service?name=${encodeURIComponent(HOSTILE)}`, 'namespaces', 'switches']) {
        await page.goto(at(hash));
        await page.locator('h1').waitFor();
        await page.waitForLoadState('networkidle');
        const found = await page.evaluate(() => ({
          hacked: window.hacked ?? null, images: document.querySelectorAll('main img').length, scripts: document.scripts.length,
        }));
        same(found, { hacked: null, images: 0, scripts: 1 }, hash);
      }
      await page.goto(at(service));
      await page.getByText(`evil=${HOSTILE.slice(0, 20)}`).first().waitFor();
      await page.getByRole('heading', { name: HOSTILE_SERVICE }).waitFor();
      // What an operator is asked says the same.
      await page.getByRole('button', { name: 'Take offline' }).first().click();
      await page.getByRole('dialog').waitFor();
      same(await page.evaluate(() => window.hacked ?? null), null);
      await page.keyboard.press('Escape');
    });

    await check('scripts that are not the page\'s own do not run', async (open) => {
      const page = await open({ allowed: ['Content Security Policy', 'violates the following'] });
      await page.goto(server.page);
      await page.getByRole('heading', { name: 'Overview' }).waitFor();
      await page.evaluate(() => {
        const script = document.createElement('script');
        script.textContent = 'window.hacked = 1';
        document.body.append(script);
        const button = document.createElement('button');
        button.setAttribute('onclick', 'window.hacked = 1');
        document.body.append(button);
        button.click();
      });
      same(await page.evaluate(() => window.hacked ?? null), null);
    });

    await check('everything can be done with the keyboard', async (open) => {
      const page = await open();
      await page.goto(at('services'));
      await page.getByRole('link', { name: 'orders', exact: true }).waitFor();
      const tabTo = async (what, isThere) => {
        for (let presses = 0; presses < 80; presses += 1) {
          await page.keyboard.press('Tab');
          if (await page.evaluate(isThere)) return;
        }
        throw new Error(`${what} is not reached with the keyboard`);
      };
      await tabTo('the address', () => document.activeElement.name === 'address');
      await page.keyboard.type('10.0.0.1:8080');
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: /instances at 10\.0\.0\.1:8080/ }).waitFor();
      await tabTo('the service', () => document.activeElement.matches('td a'));
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: 'orders', level: 1 }).waitFor();
      await page.locator('main table').first().waitFor();
      await tabTo('a button of an instance', () => document.activeElement.matches('td button'));
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
      same(outline, 'solid', 'the focus is seen');
      // An update of the page leaves the focus where it is.
      const label = await page.evaluate(() => document.activeElement.textContent);
      await pause(4500);
      same(await page.evaluate(() => document.activeElement.textContent), label, 'the focus stays');
      await page.keyboard.press('Enter');
      await page.getByRole('dialog').waitFor();
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      same(await page.evaluate(() => document.activeElement.textContent), label, 'the focus comes back');
      await page.keyboard.press('Enter');
      await page.keyboard.press('Enter');
      await page.getByRole('status').getByText(/is offline\./).waitFor();
      await page.goto(at('overview'));
      await page.getByRole('heading', { name: 'Overview' }).waitFor();
      await page.reload();
      await page.getByRole('heading', { name: 'Overview' }).waitFor();
      await page.keyboard.press('Tab');
      same(await page.evaluate(() => document.activeElement.textContent), 'Skip to content');
      await page.keyboard.press('Enter');
      same(await page.evaluate(() => document.activeElement.id), 'main');
    });

    for (const width of [1280, 390]) {
      await check(`nothing is cut off at ${width} pixels`, async (open) => {
        const page = await open({ width, height: width === 390 ? 844 : 900 });
        await harm(server);
        const hashes = ['overview', 'services', 'services?address=10.', `service?name=${LONG}`, 'service?name=orders', `service?name=${encodeURIComponent(HOSTILE_SERVICE)}`, 'clients',
          'clients?kind=address', 'events', 'cluster', 'namespaces', 'users', 'switches', 'audit'];
        for (const hash of hashes) {
          await page.goto(at(hash));
          await page.locator('h1').waitFor();
          await page.waitForLoadState('networkidle');
          await fits(page, hash);
          await isLabelled(page, hash);
        }
        await page.goto(at('service?name=orders'));
        await page.locator('main table').first().waitFor();
        if (width === 390) await picture(page, 'service-narrow');
        await page.getByRole('button', { name: 'Metadata' }).first().click();
        await fits(page, 'a dialog');
      });
    }

    await check('services, clusters, namespaces and switches are changed, and the audit tells who did it', async (open) => {
      const page = await open();
      const confirm = (name) => page.getByRole('dialog').getByRole('button', { name }).click();
      const said = (text) => page.getByRole('status').getByText(text).waitFor();
      await page.goto(at('services'));
      await page.getByRole('button', { name: 'Create a service' }).click();
      await page.getByRole('dialog').getByLabel('Name').fill('made-here');
      await page.getByRole('dialog').getByLabel('Protect threshold').fill('0.5');
      await confirm('Create');
      await said('The service is created.');
      await page.goto(at('service?name=made-here'));
      await page.getByText('0.5').waitFor();
      await page.getByRole('button', { name: 'Edit' }).click();
      await page.getByRole('dialog').getByLabel('Metadata, a JSON object').fill('{"team": "a"}');
      await confirm('Confirm');
      await page.getByText('team=a').waitFor();
      await page.getByRole('button', { name: 'Delete' }).click();
      await confirm('Delete');
      await page.getByRole('heading', { name: 'Services' }).waitFor();
      await page.goto(at('service?name=fixed'));
      await page.getByRole('row', { name: /DEFAULT.*TCP/ }).getByRole('button', { name: 'Edit' }).click();
      await page.getByRole('dialog').getByLabel('Health checker').selectOption('NONE');
      await confirm('Confirm');
      await page.getByRole('row', { name: /DEFAULT.*NONE/ }).waitFor();
      await page.getByRole('button', { name: 'Deregister' }).click();
      await confirm('Deregister');
      await said('10.5.0.1:80 is deregistered.');
      await page.goto(at('namespaces'));
      await page.getByRole('button', { name: 'Create a namespace' }).click();
      await page.getByRole('dialog').getByLabel('Id').fill('dev');
      await page.getByRole('dialog').getByLabel('Name').fill('Development');
      await confirm('Create');
      await page.getByRole('link', { name: 'Development' }).waitFor();
      await page.goto(at('switches'));
      await page.getByRole('row', { name: /clientBeatInterval/ }).getByRole('button').click();
      await page.getByRole('dialog').getByLabel('Value').fill('6000');
      await confirm('Confirm');
      await page.getByRole('row', { name: /clientBeatInterval 6000/ }).waitFor();
      await page.goto(at('audit'));
      for (const action of ['switches_update', 'namespace_create', 'instance_delete', 'cluster_update', 'service_delete', 'service_create', 'instance_patch']) {
        await page.getByRole('row', { name: new RegExp(`${action}.*done 200`) }).first().waitFor();
      }
    });
  } finally {
    client.close();
    server.end();
  }
}

/** A client of 1.x asks to be told by UDP. */
const listen = (server) => server.call('GET', 'v1/ns/instance/list?serviceName=orders&udpPort=50123&clientIP=127.0.0.1&app=shop-1', { 'user-agent': 'Nacos-Java-Client:v1.4.8' });

async function fill(server, client) {
  for (let number = 1; number <= 8; number += 1) {
    await server.register('orders', `10.0.0.${number}`, 8080, { metadata: 'zone=a', weight: 1 });
  }
  for (let number = 1; number <= 5; number += 1) await server.register('payments', `10.1.0.${number}`, 8080, { metadata: 'zone=b' });
  for (const [index, name] of NAMES.entries()) {
    for (let number = 1; number <= 1 + (index % 4); number += 1) await server.register(name, `10.3.${index}.${number}`, 8080);
  }
  await server.register('fixed', '10.5.0.1', 80, { ephemeral: false });
  await client.set_up('Nacos-Rust-Client:v0.8.0', 'shop');
  await client.register('payments', '10.2.0.1', 9000);
  await client.subscribe('orders');
  // A change to be told of.
  await server.register('orders', '10.0.0.7', 8080, { metadata: 'zone=c' });
}

/** Registers what would harm a page that takes texts for anything else. */
async function harm(server) {
  await server.register(LONG, '10.6.0.1', 80, { metadata: JSON.stringify({ [`key-${'k'.repeat(300)}`]: 'v'.repeat(900) }) });
  const hostile = new URLSearchParams({ serviceName: HOSTILE_SERVICE, ip: '10.6.6.6', port: 80, metadata: JSON.stringify({ evil: HOSTILE, [HOSTILE]: 'x' }) });
  server.beats.add(String(new URLSearchParams({ serviceName: HOSTILE_SERVICE, ip: '10.6.6.6', port: 80 })));
  await server.call('POST', `v2/ns/instance?${hostile}`, { 'user-agent': `Nacos-Java-Client:${HOSTILE}` });
}
