/**
 * The built page over the mock API: what a browser makes of it, under the strictest content security policy it works with.
 * What the server does with a key or a password is tested against the real binary, elsewhere.
 */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect, test as base, type Page } from '@playwright/test';

/** Evaluated through the debugger, which no policy of the page stops; @axe-core/playwright does no more than this. */
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Every test also proves that nothing it did broke the policy or threw. */
const test = base.extend<{ complaints: string[] }>({
  complaints: [
    async ({ page }, use) => {
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('console', (message) => {
        if (/content security policy|trusted ?type/i.test(message.text())) complaints.push(message.text());
      });
      page.on('dialog', (dialog) => complaints.push(`a script of a stranger ran: ${dialog.message()}`));
      await use(complaints);
      expect(complaints).toEqual([]);
    },
    { auto: true },
  ],
});

const KEY = 'adit.session-key';

/** As after a sign-in: the browser has the cookie, and this origin's storage the key. */
async function signIn(page: Page, account: string) {
  const answer = await page.request.post('/api/v1/session', { data: { account, password: 'correct horse battery' } });
  const { csrf } = await answer.json();
  // Some document of the origin without a page in it.
  await page.goto('/api/v1/sign-in');
  await page.evaluate(([name, key]) => localStorage.setItem(name, key), [KEY, csrf] as const);
}

async function visit(page: Page, account: 'alice' | 'nina' | null, path: string) {
  if (account) await signIn(page, account);
  await page.goto(`/#${path}`);
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
}

async function violations(page: Page): Promise<string[]> {
  return page.evaluate<string[]>(
    `${AXE}; axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
       violations.map((found) => found.impact + ' ' + found.id + ': ' + found.nodes.map((node) => node.target.join(' ')).join(', ')))`,
  );
}

const PAGES: { account: 'alice' | 'nina' | null; path: string; shows: string | RegExp }[] = [
  { account: null, path: '/sign-in', shows: 'Garden Club ID' },
  { account: null, path: '/invite/new', shows: 'You are invited' },
  { account: null, path: '/invite/gone', shows: 'This link does not work' },
  { account: 'nina', path: '/edge/reverse-tunnel', shows: 'NOT CONFIGURED' },
  { account: 'alice', path: '/edge/reverse-tunnel', shows: 'MacBook Pro' },
  { account: 'alice', path: '/edge/reverse-tunnel/10080', shows: 'As a table, per hour' },
  { account: 'alice', path: '/reachability/directory', shows: 'Wiki of the garden club' },
  { account: 'alice', path: '/help', shows: 'encrypted on both legs' },
  { account: 'alice', path: '/account', shows: 'nightly backup' },
  { account: 'alice', path: '/admin/accounts', shows: 'member-48' },
  { account: 'alice', path: '/admin/invitations', shows: 'they choose' },
  { account: 'alice', path: '/admin/tiers', shows: '100 Mbit/s' },
  { account: 'alice', path: '/admin/sessions', shows: '1–50 of 1,000 sessions' },
  { account: 'alice', path: '/admin/audit', shows: 'reason: out_of_range' },
  { account: 'alice', path: '/admin/health', shows: 'Not logged in yet' },
  { account: 'alice', path: '/admin/settings', shows: 'allow_networks' },
  { account: 'nina', path: '/admin/accounts', shows: 'There is nothing here' },
];

for (const { account, path, shows } of PAGES) {
  for (const colorScheme of ['light', 'dark'] as const) {
    test(`${path} as ${account ?? 'nobody'}, ${colorScheme}: axe finds nothing, and it fits a phone`, async ({ page }) => {
      await page.emulateMedia({ colorScheme });
      await visit(page, account, path);
      await expect(page.getByText(shows).first()).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await page.setViewportSize({ width: 360, height: 740 });
      expect(await violations(page)).toEqual([]);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(overflow).toBeLessThanOrEqual(0);
    });
  }
}

test('a first key flips the badge and brings the cards, a removed one takes them away', async ({ page }) => {
  await visit(page, 'nina', '/edge/reverse-tunnel');
  await expect(page.getByRole('heading', { name: 'How to Connect' })).toBeHidden();
  await page.getByRole('textbox', { name: 'Public key' }).fill('ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI nina@laptop');
  await page.getByLabel('Description').fill('laptop');
  await page.getByRole('button', { name: 'Save Key' }).click();
  await expect(page.getByTestId('key-badge')).toHaveText('CONFIGURED');
  await expect(page.getByTestId('command-plain')).toHaveText(
    'ssh -i ~/.ssh/adit_jump -p 2222 -R 10080:localhost:8000 tunnel@jump.example',
  );
  await page.getByRole('tab', { name: 'autossh' }).click();
  await expect(page.getByTestId('command-autossh')).toContainText('AUTOSSH_GATETIME=0');

  await page.getByRole('button', { name: 'Remove Key' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove Key' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toBeFocused();
  await expect(page.getByTestId('key-badge')).toHaveText('NOT CONFIGURED');
  await expect(page.getByRole('heading', { name: 'How to Connect' })).toBeHidden();
  await expect(page.getByRole('heading', { name: 'Registered Ports' })).toBeHidden();
});

test('a private key is stopped in the page and leaves the field', async ({ page }) => {
  const sent: string[] = [];
  page.on('request', (request) => sent.push(request.postData() ?? ''));
  await visit(page, 'nina', '/edge/reverse-tunnel');
  await page.getByRole('textbox', { name: 'Public key' }).fill('-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAA\n-----END');
  await expect(page.getByTestId('key-advice')).toContainText('That was a private key');
  await expect(page.getByRole('textbox', { name: 'Public key' })).toHaveValue('');
  await page.getByRole('button', { name: 'Save Key' }).click();
  expect(sent.join('')).not.toContain('PRIVATE');
});

test('a key that another account holds can be claimed', async ({ page }) => {
  await visit(page, 'alice', '/edge/reverse-tunnel');
  await page.getByRole('button', { name: 'Add another key' }).click();
  await page.getByLabel('Another public key').fill('ssh-ed25519 AAAAHELD');
  await page.getByRole('button', { name: 'Save Key' }).click();
  await expect(page.getByTestId('claim-command')).toContainText('ssh-keygen -Y sign');
  expect(await violations(page)).toEqual([]);
});

test('Remove Key says how many live sessions end', async ({ page }) => {
  await visit(page, 'alice', '/edge/reverse-tunnel');
  await page.getByRole('button', { name: 'Remove Key MacBook Pro' }).click();
  await expect(page.getByRole('dialog')).toContainText('1 live session will end');
  expect(await violations(page)).toEqual([]);
});

test('text of strangers stays text', async ({ page }) => {
  await visit(page, 'alice', '/edge/reverse-tunnel');
  await expect(page.getByTestId('tunnel-10443')).toContainText('<img src=x onerror=alert(1)><script>alert("x")</script>');
  await expect(page.locator('main img, main script')).toHaveCount(0);
});

test('bytes move and the rate follows', async ({ page }) => {
  await visit(page, 'alice', '/edge/reverse-tunnel');
  const row = page.getByTestId('tunnel-10080');
  await expect(row).toContainText(/[1-9][0-9.]* [kM]B\/s/, { timeout: 10_000 });
});

test('by keyboard alone: skip link, menu, tabs, a dialog and back', async ({ page }) => {
  await visit(page, 'alice', '/help');
  await page.keyboard.press('Tab');
  await expect(page.getByRole('link', { name: 'Skip to the content' })).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(page.locator('main')).toBeFocused();
  await expect(page).toHaveURL(/#\/help$/);

  await page.getByRole('link', { name: 'Jumphost Tunnel' }).focus();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { name: 'Reverse Tunnel', level: 1 })).toBeFocused();
  await expect(page.locator('#reverse-tunnel-section')).toBeVisible();

  await page.getByRole('tab', { name: 'Once' }).focus();
  await page.keyboard.press('ArrowRight');
  await expect(page.getByRole('tab', { name: 'Keep alive' })).toBeFocused();
  await expect(page.getByTestId('command-keepalive')).toContainText('ServerAliveInterval=30');
  await page.keyboard.press('End');
  await expect(page.getByTestId('command-systemd')).toContainText('ExecStart=');

  const register = page.getByRole('button', { name: 'Register Port' });
  await register.focus();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('dialog', { name: 'Register a port' })).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  await expect(register).toBeFocused();

  await page.getByRole('button', { name: 'Close port 10080' }).focus();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('button', { name: 'Cancel' })).toBeFocused();
});

test('a dialog that is opened again right after Esc stays open', async ({ page }) => {
  await visit(page, 'alice', '/edge/reverse-tunnel');
  const opener = page.getByRole('button', { name: 'Remove Key MacBook Pro' });
  await opener.click();
  const dialog = page.getByRole('dialog');
  await expect(dialog).toBeVisible();
  // Faster than a person, as a slow machine makes it: the next press comes before the frame that tells of the first closing.
  await opener.evaluate(async (button: HTMLElement) => {
    const dialog = document.querySelector('dialog') as HTMLDialogElement & { requestClose: () => void };
    dialog.requestClose();
    await Promise.resolve();
    if (document.activeElement !== button) throw new Error('the focus did not come back');
    button.click();
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  });
  await expect(dialog.getByRole('button', { name: 'Cancel' })).toBeFocused();
  await dialog.getByRole('button', { name: 'Remove Key' }).click();
  await expect(page.getByRole('button', { name: 'Remove Key MacBook Pro' })).toHaveCount(0);
});

test('whatever has the focus shows it', async ({ page }) => {
  await visit(page, 'alice', '/edge/reverse-tunnel');
  await expect(page.getByTestId('tunnel-10080')).toBeVisible();
  for (let step = 0; step < 40; step += 1) {
    await page.keyboard.press('Tab');
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      const style = getComputedStyle(element);
      return { what: element.outerHTML.slice(0, 80), shown: style.outlineStyle !== 'none' && style.outlineWidth !== '0px' };
    });
    if (focused) expect(focused, `step ${step}`).toMatchObject({ shown: true });
  }
});

test('on a phone the menu opens, leads on, and closes', async ({ page }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  await visit(page, 'alice', '/edge/reverse-tunnel');
  await page.getByRole('button', { name: 'Menu' }).click();
  expect(await violations(page)).toEqual([]);
  await page.getByRole('dialog', { name: 'Menu' }).getByRole('link', { name: 'Directory' }).click();
  await expect(page.getByRole('heading', { name: 'Directory', level: 1 })).toBeVisible();
  await expect(page.getByRole('dialog')).toHaveCount(0);
});

for (const [path, button] of [
  ['/edge/reverse-tunnel', 'Remove port 10080'],
  ['/admin/accounts', 'Manage nina'],
  ['/admin/invitations', 'Revoke link 3'],
  ['/admin/tiers', 'Remove tier plus'],
  ['/admin/sessions', 'End session 1 of member-2'],
] as const) {
  test(`on a phone the buttons of ${path} are on the screen`, async ({ page }) => {
    await page.setViewportSize({ width: 360, height: 740 });
    await visit(page, 'alice', path);
    const box = await page.getByRole('button', { name: button, exact: true }).boundingBox();
    expect(box?.x).toBeGreaterThanOrEqual(0);
    expect((box?.x ?? 0) + (box?.width ?? Infinity)).toBeLessThanOrEqual(360);
  });
}

test('on a phone every way to connect is on the screen', async ({ page }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  await visit(page, 'alice', '/edge/reverse-tunnel');
  await page.getByRole('tab', { name: 'systemd' }).scrollIntoViewIfNeeded();
  for (const name of ['Once', 'Keep alive', 'autossh', 'systemd']) {
    await expect(page.getByRole('tab', { name })).toBeInViewport({ ratio: 1 });
  }
});

test('the theme that was chosen is kept', async ({ page }) => {
  await visit(page, null, '/sign-in');
  const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await background();
  await page.getByRole('button', { name: 'Dark' }).click();
  const dark = await background();
  expect(dark).not.toBe(light);
  await page.reload();
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
  expect(await background()).toBe(dark);
});

test('a lost stream is told, bridged by asking, and forgotten when it is back', async ({ page }) => {
  await page.route('**/api/v1/events', (route) => route.abort());
  await visit(page, 'alice', '/edge/reverse-tunnel');
  await expect(page.getByTestId('connection-lost')).toBeVisible();
  await expect(page.getByTestId('tunnel-10080')).toBeVisible();
  await page.unroute('**/api/v1/events');
  await expect(page.getByTestId('connection-lost')).toBeHidden({ timeout: 15_000 });
});

test('a session that the server ended leads to the sign-in page', async ({ page }) => {
  await visit(page, 'nina', '/account');
  await page.context().clearCookies();
  await page.getByRole('button', { name: 'New token' }).click();
  await page.getByLabel('What is it for?').fill('x');
  await page.getByRole('button', { name: 'Make token' }).click();
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
  await expect(page.getByText('Your session has ended')).toBeVisible();
});

test('every request of somebody who is signed in carries the key', async ({ page }) => {
  const without: string[] = [];
  page.on('request', (request) => {
    const open = /api\/v1\/(sign-in|session)$/.test(request.url());
    if (request.url().includes('/api/') && !open && !request.headers()['x-csrf-token']) without.push(request.url());
  });
  const events = page.waitForRequest('**/api/v1/events');
  await visit(page, 'alice', '/admin/audit');
  await events;
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Download CSV' }).click(),
  ]);
  expect(download.suggestedFilename()).toBe('adit-audit.csv');
  expect(readFileSync(await download.path(), 'utf8')).toContain('at,kind,account');
  expect(without).toEqual([]);
});

test('the cookie without the key is nobody', async ({ page }) => {
  await visit(page, 'nina', '/account');
  await page.evaluate((name) => localStorage.removeItem(name), KEY);
  await page.reload();
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
});

test('a provider sends its people back with a key, which leaves the address', async ({ page }) => {
  await visit(page, null, '/sign-in');
  await page.getByRole('link', { name: 'Sign in with Garden Club ID' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Reverse Tunnel' })).toBeVisible();
  expect(page.url()).not.toContain('key');
  expect(await page.evaluate((name) => localStorage.getItem(name), KEY)).toMatch(/^key-/);
  await page.goBack();
  expect(page.url()).not.toContain('key');
});

test('a key in the address that nobody waits for is dropped', async ({ page }) => {
  await visit(page, 'nina', '/help');
  const mine = await page.evaluate((name) => localStorage.getItem(name), KEY);
  await page.goto('/#/signed-in?key=of-a-stranger');
  await expect(page.getByRole('heading', { name: 'Reverse Tunnel' })).toBeVisible();
  expect(page.url()).not.toContain('stranger');
  expect(await page.evaluate((name) => localStorage.getItem(name), KEY)).toBe(mine);
});

test('who signs out in one tab is signed out in the other', async ({ page, context }) => {
  await visit(page, 'nina', '/account');
  const other = await context.newPage();
  await other.goto('/#/help');
  await expect(other.getByRole('heading', { name: 'Help' })).toBeVisible();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(other.getByRole('heading', { name: 'Sign in' })).toBeVisible();
});

test('a hidden tab lets its stream go, and takes it up again', async ({ page }) => {
  await page.addInitScript(() => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => sessionStorage.getItem('hidden') === 'yes' });
  });
  const show = (hidden: boolean) =>
    page.evaluate((value) => {
      sessionStorage.setItem('hidden', value);
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden ? 'yes' : 'no');
  await page.clock.install();
  await visit(page, 'alice', '/help');
  const left = page.waitForEvent('requestfailed', (request) => request.url().endsWith('/events'));
  await show(true);
  await page.clock.fastForward(11_000);
  await left;
  const back = page.waitForRequest('**/api/v1/events');
  await show(false);
  await back;
  await expect(page.getByTestId('connection-lost')).toHaveCount(0);
});

test('sign-in: a wrong password is told, too many attempts are counted down, a right one opens the page', async ({ page }) => {
  await visit(page, null, '/sign-in');
  const attempt = async (password: string) => {
    await page.getByLabel('Account').fill('nina');
    await page.getByLabel('Password', { exact: true }).fill(password);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  };
  await attempt('wrong');
  await expect(page.getByRole('alert')).toContainText('not right');
  await expect(page.getByLabel('Password', { exact: true })).toHaveValue('');
  await attempt('correct horse battery');
  await expect(page.getByRole('heading', { name: 'Reverse Tunnel' })).toBeVisible();
  await page.getByRole('link', { name: 'Account' }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
  await attempt('wait');
  await expect(page.getByTestId('countdown')).toContainText(/Next attempt in \d+ s/);
  await expect(page.getByRole('button', { name: 'Sign in', exact: true })).toBeDisabled();
});

test('a first run says where the link is', async ({ page }) => {
  await page.route('**/api/v1/sign-in', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), first_run: true, oidc: null } });
  });
  await visit(page, null, '/sign-in');
  await expect(page.getByTestId('first-run')).toContainText('The server printed a one-time link');
  await expect(page.getByText('Garden Club ID')).toHaveCount(0);
});

test('an invitation becomes an account, and its token leaves the address', async ({ page }) => {
  await visit(page, null, '/invite/new');
  await page.getByLabel('Account name').fill('nina');
  await page.getByLabel('Password', { exact: true }).fill('four words in a row');
  await page.getByRole('button', { name: 'Make my account' }).click();
  await expect(page.getByRole('heading', { name: 'Reverse Tunnel' })).toBeVisible();
  expect(page.url()).not.toContain('invite');
});

test('every copy button copies, and says so', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await visit(page, 'alice', '/edge/reverse-tunnel');
  await page.getByRole('button', { name: 'Copy address of port 10080' }).first().click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('10.255.9.241:10080');
  await expect(page.getByText('Copied address of port 10080').first()).toBeAttached();
});

test('the code of a port that browsers refuse says so', async ({ page }) => {
  await visit(page, 'alice', '/edge/reverse-tunnel');
  const dialog = page.getByRole('dialog');
  await page.getByRole('button', { name: 'QR code of port 10080' }).click();
  await expect(dialog.getByTestId('browsers-refuse')).toContainText('Browsers open no page at port 10080');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'QR code of port 10022' }).click();
  await expect(dialog.getByRole('img')).toBeVisible();
  await expect(dialog.getByTestId('browsers-refuse')).toHaveCount(0);
});

test('a token ends, in 90 days where nothing else is chosen', async ({ page }) => {
  await visit(page, 'alice', '/account');
  await page.getByRole('button', { name: 'New token' }).click();
  const ends = page.getByLabel('It ends');
  await expect(ends.getByRole('option')).toHaveText(['in 30 days', 'in 90 days', 'in a year']);
  await page.getByLabel('What is it for?').fill('reports');
  const [request] = await Promise.all([
    page.waitForRequest((request) => request.method() === 'POST' && request.url().endsWith('/me/tokens')),
    page.getByRole('button', { name: 'Make token' }).click(),
  ]);
  expect(request.postDataJSON().expires_in_ms).toBe(90 * 86_400_000);
  await expect(page.getByTestId('new-token')).toBeVisible();
});

test('an account is managed in one dialog, and what destroys asks again', async ({ page }) => {
  await visit(page, 'alice', '/admin/accounts');
  const dialog = page.getByRole('dialog');
  await page.getByRole('button', { name: 'Manage nina' }).click();
  await dialog.getByRole('button', { name: 'Make a password link' }).click();
  await expect(page.getByTestId('one-time-link')).toContainText('/#/invite/');
  expect(await violations(page)).toEqual([]);
  await dialog.getByRole('button', { name: 'Done' }).click();
  await page.getByRole('button', { name: 'Manage nina' }).click();
  await dialog.getByRole('button', { name: 'Remove' }).click();
  await expect(page.getByRole('dialog', { name: 'Remove nina?' })).toBeVisible();
  await dialog.getByRole('button', { name: 'Remove account' }).click();
  await expect(page.getByTestId('account-nina')).toHaveCount(0);
});

test('a tier keeps the limit that was typed, in its unit', async ({ page }) => {
  await visit(page, 'alice', '/admin/tiers');
  await page.getByRole('button', { name: 'Edit tier plus' }).click();
  await page.getByLabel('Rate towards the owner: which').selectOption('At most');
  await page.getByLabel('Rate towards the owner: number').fill('2.5');
  await page.getByLabel('Rate towards the owner: unit').selectOption('MB/s');
  expect(await violations(page)).toEqual([]);
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByTestId('tier-plus')).toContainText('20 Mbit/s');
});

test('a thousand live sessions, of which the page holds fifty while they move', async ({ page }) => {
  await visit(page, 'alice', '/admin/sessions');
  const out = page.getByTestId('session-1').locator('[data-label=Out]');
  const size = () => page.evaluate(() => document.querySelectorAll('*').length);
  const told = () => page.waitForResponse(/admin\/sessions/);
  await expect(page.getByRole('row')).toHaveCount(51);
  const [before, moved] = [await size(), await out.innerText()];
  for (let round = 0; round < 3; round += 1) {
    const view = await (await told()).json();
    expect([view.total, view.items.length]).toEqual([1_000, 50]);
  }
  await expect(out).not.toHaveText(moved);
  await expect(page.getByRole('row')).toHaveCount(51);
  expect(await size()).toBe(before);
  // To the end and no further: what was shown is gone from the document.
  for (let step = 1; step < 20; step += 1) await page.getByRole('button', { name: 'Next' }).click();
  await expect(page.getByText('951–1,000 of 1,000 sessions')).toBeVisible();
  await expect(page.getByTestId('session-1000')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Next' })).toBeDisabled();
  await expect(page.getByRole('row')).toHaveCount(51);
  expect(await size()).toBeLessThan(before * 1.1);
});

test('a member steps through a thousand registered ports, and finds one', async ({ page }) => {
  await visit(page, 'alice', '/edge/reverse-tunnel');
  const asked: string[] = [];
  const ports = Array.from({ length: 1_000 }, (_, index) => ({
    id: String(index),
    port: 20_000 + index,
    description: `service ${index}`,
    shared: false,
    created_at: 0,
    live: false,
  }));
  await page.route('**/api/v1/me/ports?*', async (route) => {
    const { searchParams } = new URL(route.request().url());
    asked.push(searchParams.toString());
    const found = ports.filter(({ port }) => String(port).includes(searchParams.get('q') ?? ''));
    const offset = Number(searchParams.get('offset'));
    await route.fulfill({ json: { total: found.length, items: found.slice(offset, offset + Number(searchParams.get('limit'))) } });
  });
  await page.reload();
  const list = page.getByRole('group', { name: 'Registered ports' });
  await expect(list.getByRole('row')).toHaveCount(51);
  const pages = page.getByRole('navigation', { name: 'Pages of ports' });
  await pages.getByRole('button', { name: 'Next' }).click();
  await expect(pages.getByText('51–100 of 1,000 ports')).toBeVisible();
  await page.getByLabel('Search by port or description').fill('20777');
  await expect(list.getByRole('row')).toHaveCount(2);
  await page.getByLabel('Search by port or description').fill('99999');
  await expect(page.getByText('No port matches “99999”.')).toBeVisible();
  await page.getByLabel('Search by port or description').fill('');
  await expect(list.getByRole('row')).toHaveCount(51);
  await expect(page.getByLabel('Search by port or description')).toBeFocused();
  for (const query of asked) expect(query).toContain('limit=50');
});

test('an administrator steps through a thousand sessions', async ({ page }) => {
  await visit(page, 'alice', '/admin/sessions');
  await expect(page.getByRole('row')).toHaveCount(51);
  await page.getByRole('button', { name: 'Next' }).click();
  await expect(page.getByText('51–100 of 1,000 sessions')).toBeVisible();
  await expect(page.getByTestId('session-51')).toBeVisible();
  await page.getByLabel(/Search by account/).fill('machine 77');
  await expect(page.getByTestId('session-77')).toBeVisible();
});
