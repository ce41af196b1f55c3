// A server that asks who one is.

import { fits, holds, same } from './expect.mjs';
import { Server, until } from './server.mjs';

export async function accounts({ check }) {
  const key = Buffer.from('nothing else is signed with this key').toString('base64');
  const server = await Server.start(['auth.enabled=true', `auth.token_key=${key}`]);
  const logIn = async (page, name, password) => {
    await page.getByLabel('Name').fill(name);
    await page.getByLabel('Password').fill(password);
    await page.keyboard.press('Enter');
  };
  const allowed = ['403 (Forbidden)'];
  try {
    await check('the first administrator is made on the page, and logs in', async (open) => {
      const page = await open({ allowed });
      await page.goto(server.page);
      await page.getByRole('heading', { name: 'The first administrator' }).waitFor();
      await fits(page, 'first administrator');
      await logIn(page, 'root', 'a good password');
      await page.getByText('Logged in as root').waitFor();
      await page.getByRole('heading', { name: 'Overview' }).waitFor();
    });

    await check('a wrong password is refused, a right one opens, and no cookie is kept', async (open) => {
      const page = await open({ allowed });
      await page.goto(server.page);
      await page.getByRole('heading', { name: 'Log in' }).waitFor();
      await logIn(page, 'root', 'another password');
      await page.getByRole('alert').getByText('unknown user!').waitFor();
      await logIn(page, 'root', 'a good password');
      await page.getByText('Logged in as root').waitFor();
      same(await page.context().cookies(), []);
      const stored = await page.evaluate(() => JSON.stringify({ ...localStorage }));
      holds(!stored.includes('eyJ'), 'the token is in the memory of the browser');
      await page.reload();
      await page.getByText('Logged in as root').waitFor();
      await page.getByRole('button', { name: 'Log out' }).click();
      await page.getByRole('heading', { name: 'Log in' }).waitFor();
      same(await page.evaluate(() => Object.keys(sessionStorage)), []);
    });

    await check('users, roles and permissions are made on the page and hold', async (open) => {
      const page = await open({ allowed });
      const said = (text) => page.getByRole('status').getByText(text).waitFor();
      const add = async (values) => {
        await page.getByRole('button', { name: 'Add' }).click();
        const dialog = page.getByRole('dialog');
        for (const [label, value] of Object.entries(values)) await dialog.getByLabel(label, { exact: true }).fill(value);
        await dialog.getByRole('button', { name: 'Add' }).click();
      };
      await page.goto(`${server.page}#/users`);
      await logIn(page, 'root', 'a good password');
      await page.getByRole('heading', { name: 'Users' }).waitFor();
      await add({ Name: 'reader', Password: 'a reading password' });
      await said('The user is added.');
      await page.getByRole('cell', { name: 'reader' }).waitFor();
      await page.goto(`${server.page}#/roles`);
      await page.getByRole('heading', { name: 'Roles' }).waitFor();
      await add({ Role: 'readers', User: 'reader' });
      await said('The role is given.');
      await page.goto(`${server.page}#/permissions`);
      await page.getByRole('heading', { name: 'Permissions' }).waitFor();
      await page.getByRole('button', { name: 'Add' }).click();
      await page.getByRole('dialog').getByLabel('Role').fill('readers');
      await page.getByRole('dialog').getByLabel('Action').selectOption('r');
      await page.getByRole('dialog').getByRole('button', { name: 'Add' }).click();
      await said('The permission is given.');
      await page.getByRole('row', { name: /readers.*:\*:\*.*read/ }).waitFor();
      await page.getByRole('button', { name: 'Log out' }).click();
      await logIn(page, 'reader', 'a reading password');
      await page.getByText('Logged in as reader').waitFor();
      // A reader sees services, and is told what is not for a reader.
      await page.goto(`${server.page}#/services`);
      await page.getByRole('heading', { name: 'Services' }).waitFor();
      await page.getByRole('button', { name: 'Create a service' }).click();
      await page.getByRole('dialog').getByLabel('Name').fill('x');
      await page.getByRole('dialog').getByRole('button', { name: 'Create' }).click();
      await page.getByRole('dialog').getByText('authorization failed!').waitFor();
      await page.keyboard.press('Escape');
      await page.goto(`${server.page}#/audit`);
      await page.getByText('authorization failed!').waitFor();
      await page.getByText('ask an administrator').waitFor();
      await page.goto(`${server.page}#/overview`);
      await page.getByText('Only an administrator sees the events of all services.').waitFor();
    });

    await check('who is no longer known has to log in again', async (open) => {
      const page = await open({ allowed });
      await page.goto(`${server.page}#/services`);
      await logIn(page, 'reader', 'a reading password');
      await page.getByRole('heading', { name: 'Services' }).waitFor();
      const token = JSON.parse(await server.call('POST', 'v3/auth/user/login?username=root&password=a%20good%20password')).accessToken;
      await server.call('DELETE', 'v3/auth/user?username=reader', { authorization: `Bearer ${token}` });
      await page.getByRole('heading', { name: 'Log in' }).waitFor();
      await until('an empty session', () => page.evaluate(() => !Object.keys(sessionStorage).length));
    });
  } finally {
    server.end();
  }
}
