// Three members.

import { fits } from './expect.mjs';
import { Client } from './grpc.mjs';
import { Server } from './server.mjs';

export async function cluster({ check, picture }) {
  const servers = await Server.cluster();
  const [first, second, third] = servers;
  try {
    for (let number = 1; number <= 30; number += 1) await servers[number % 3].register(`service-${number}`, `10.0.0.${number}`, 80);

    await check('a page shows all members, and that one is killed and comes back', async (open) => {
      const page = await open();
      await page.goto(`${first.page}#/cluster`);
      const row = (server) => page.getByRole('row', { name: new RegExp(server.address.replaceAll('.', '\\.')) });
      for (const server of servers) await row(server).getByText('up', { exact: true }).waitFor();
      await row(first).getByText('this one').waitFor();
      await row(second).getByText(/^3\d\.\d %/).waitFor();
      await picture(page, 'cluster');
      await second.kill();
      await row(second).getByText('down', { exact: true }).waitFor();
      await row(third).getByText(/^(4|5)\d\.\d %/).waitFor();
      await fits(page, 'cluster');
      await second.run();
      await row(second).getByText('up', { exact: true }).waitFor();
    });

    await check('a client is followed from any member, and one that is silent is named', async (open) => {
      const [host, port] = first.address.split(':');
      const client = new Client(`${host}:${Number(port) + 1000}`);
      await client.set_up('Nacos-Rust-Client:v0.8.0', 'shop');
      await client.register('service-1', '10.9.9.9', 80);
      const page = await open();
      await page.goto(`${third.page}#/clients`);
      await page.getByRole('cell', { name: first.address }).waitFor();
      await page.getByRole('link', { name: /:\d+$/ }).first().click();
      await page.getByRole('heading', { name: 'Publishes' }).waitFor();
      await page.getByText('10.9.9.9:80').waitFor();
      await page.getByText(first.address, { exact: true }).waitFor();
      await second.kill();
      await page.goto(`${third.page}#/clients`);
      await page.getByRole('status').getByText(second.address).waitFor();
      await page.getByRole('cell', { name: first.address }).waitFor();
      await picture(page, 'clients-of-all');
      await fits(page, 'clients');
      await second.run();
      await page.getByText('This is not all of it').waitFor({ state: 'detached' });
      client.close();
    });

    await check('a page whose own member is killed says so and goes on when it is back', async (open) => {
      const page = await open({ allowed: ['ERR_'] });
      await page.goto(`${third.page}#/services`);
      await page.getByRole('link', { name: 'service-1', exact: true }).waitFor();
      await third.kill();
      await page.getByRole('alert').getByText('What you see is not up to date').waitFor();
      // What was there can still be read.
      await page.getByRole('link', { name: 'service-1', exact: true }).waitFor();
      await third.run();
      await page.getByText('What you see is not up to date').waitFor({ state: 'detached' });
    });

    await check('what is done at one member is seen at another', async (open) => {
      const [here, there] = [await open(), await open()];
      await here.goto(`${first.page}#/service?name=service-2`);
      await there.goto(`${second.page}#/service?name=service-2`);
      await there.getByRole('button', { name: 'Take offline' }).waitFor();
      await here.getByRole('button', { name: 'Take offline' }).click();
      await here.getByRole('dialog').getByRole('button', { name: 'Take offline' }).click();
      await there.getByRole('button', { name: 'Bring online' }).waitFor({ timeout: 5000 });
    });
  } finally {
    servers.forEach((server) => server.end());
  }
}
