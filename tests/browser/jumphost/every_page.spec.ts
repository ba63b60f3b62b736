// Every address of the page, in each state that looks different, as axe judges it and without anything to scroll sideways.

import type { Page } from "@playwright/test";

import { ADMIN_TABS, DOORS, PAGES, PORT_PAGES } from "../../../web/src/jumphost/places.ts";
import { serve } from "../web.ts";
import { judge } from "../judge.ts";
import { expect, type Story, test } from "./story.ts";

/** A provider that nobody answers for. */
const PROVIDER = "  oidc:\n    issuer: http://127.0.0.1:9\n    client_id: adit\n    label: Garden Club ID\n";

test.use({ settings: PROVIDER });

async function heading(page: Page, name: string): Promise<void> {
  await expect(page.getByRole("heading", { level: 1, name })).toBeVisible();
}

/** A day of which every minute carried something, which no test can wait for. */
async function busyDay(page: Page): Promise<void> {
  const day = 24 * 60;
  const now = Math.floor(Date.now() / 60_000);
  const minutes = Array.from({ length: day }, (_, minute) => ({
    at: (now - day + minute) * 60_000,
    bytes_in: Math.round(2e6 * (1 + Math.sin(minute / 40))),
    bytes_out: Math.round(9e6 * (1 + Math.cos(minute / 90))),
    visitors: minute % 7,
  }));
  await page.route("**/api/v1/me/traffic*", (route) => route.fulfill({ json: { port: 10080, minutes } }));
}

async function signIn({ host, member, stranger }: Story): Promise<void> {
  const { page } = await stranger("nina");
  await page.goto(host.url);
  await expect(page.getByTestId("first-run")).toBeVisible();
  await judge(page, "sign-in");

  await page.getByRole("link", { name: "Sign in with Garden Club ID" }).click();
  await expect(page.getByRole("alert")).toContainText("Signing in there did not work");
  await judge(page, "sign-in-provider-unreachable");
  for (const [code, says] of [
    ["no-account", "have no account here yet"],
    ["account-disabled", "switched off"],
    ["access-denied", "called off"],
  ] as const) {
    await page.goto(`${host.url}/#/sign-in?error=${code}`);
    await expect(page.getByRole("alert")).toContainText(says);
    await judge(page, `sign-in-${code}`);
  }

  await member("alice");
  const alice = await stranger("alice");
  await alice.page.clock.install();
  await alice.page.goto(host.url);
  await alice.signIn("not the password");
  await expect(alice.page.getByRole("alert")).toBeVisible();
  await judge(alice.page, "sign-in-wrong-password");
  for (let guess = 2; guess <= 10; guess += 1) {
    await alice.call("POST", "/session", { account: "alice", password: `a wrong password, number ${guess}` });
  }
  await alice.signIn("one too many");
  await expect(alice.page.getByTestId("countdown")).toBeVisible();
  await judge(alice.page, "sign-in-too-many");

  const lost = await stranger("bob");
  await lost.page.route("**/api/v1/session", (route) => route.abort());
  await lost.page.goto(host.url);
  await heading(lost.page, "No answer");
  await judge(lost.page, "no-answer");
}

async function arrived({ host, stranger, member }: Story): Promise<void> {
  const { page } = await stranger("nina");
  await page.goto(`${host.url}/#/signed-in?key=0123456789`);
  await expect(page.getByRole("status").filter({ hasText: "not begun in this browser" })).toBeVisible();
  await judge(page, "signed-in-from-nowhere");
  const alice = await member("alice");
  // Another tab signs out.
  await alice.call("DELETE", "/session");
  await expect(alice.page.getByText("Your session has ended")).toBeVisible({ timeout: 10_000 });
  await judge(alice.page, "session-ended");
}

async function invite({ host, stranger, member }: Story): Promise<void> {
  const { page } = await stranger("nina");
  await page.goto(host.firstAdministratorLink);
  await heading(page, "Set up this jump host");
  await judge(page, "first-administrator");
  await page.goto((await host.admin("invite", "--account", "nina")).url);
  await heading(page, "You are invited");
  await judge(page, "invitation");

  const alice = await member("alice");
  await page.goto((await host.admin("invite")).url);
  await page.getByLabel("Account name").fill("alice");
  await page.getByLabel("Password", { exact: true }).fill("short");
  await judge(page, "invitation-weak-password");
  await page.getByLabel("Password", { exact: true }).fill("correct horse battery staple");
  await page.getByRole("button", { name: "Make my account" }).click();
  await expect(page.getByRole("alert")).toBeVisible();
  await judge(page, "invitation-name-taken");

  await page.goto((await host.admin("account", "password-link", "alice")).url);
  await heading(page, "Choose a new password");
  await judge(page, "password-link");
  await alice.page.goto((await host.admin("invite", "--account", "carol")).url);
  await expect(alice.page.getByText("You are signed in as alice")).toBeVisible();
  await judge(alice.page, "invitation-for-somebody-else");

  await page.goto(`${host.url}/#/invite/0123456789`);
  await heading(page, "This link does not work");
  await judge(page, "invitation-gone");
  await page.route("**/api/v1/invitation/look", (route) => route.abort());
  await page.goto(`${host.url}/#/invite/9876543210`);
  await expect(page.getByRole("button", { name: "Try again" })).toBeVisible();
  await judge(page, "invitation-no-answer");
}

async function reverseTunnel({ member }: Story): Promise<void> {
  const service = await serve("cats".repeat(20_000));
  const [alice, bob] = [await member("alice"), await member("bob")];
  const { page } = alice;
  await expect(page.getByTestId("key-badge")).toHaveText("NOT CONFIGURED");
  await judge(page, "reverse-tunnel-without-key");
  await page.getByRole("textbox", { name: "Public key" }).fill("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAA\n");
  await expect(page.getByTestId("key-advice")).toContainText("That was a private key");
  await judge(page, "reverse-tunnel-private-key");

  await alice.settle(service.port);
  await judge(page, "reverse-tunnel");
  for (const tab of ["Keep alive", "autossh", "systemd"]) {
    await page.getByRole("tab", { name: tab }).click();
    await judge(page, `reverse-tunnel-${tab.toLowerCase().replace(" ", "-")}`);
  }
  const held = await bob.saveKey();
  await page.getByRole("button", { name: "Add another key" }).click();
  await page.getByText("Narrow it down").click();
  await page.getByLabel("Another public key").fill(held);
  await page.getByRole("button", { name: "Save Key" }).click();
  await expect(page.getByTestId("claim-command")).toBeVisible();
  await page.getByText("Trust it before the first connection").click();
  await judge(page, "reverse-tunnel-claim");

  await page.route("**/api/v1/events", (route) => route.abort());
  await page.reload();
  await expect(page.getByTestId("connection-lost")).toBeVisible();
  await judge(page, "connection-lost");
  service.stop();
}

async function port({ host, member }: Story): Promise<void> {
  const service = await serve("cats".repeat(20_000));
  const alice = await member("alice");
  const { page } = alice;
  await alice.settle(service.port);
  await page.goto(`${host.url}/#/edge/reverse-tunnel/16667`);
  await expect(page.getByText("No tunnel holds this port.")).toBeVisible();
  await judge(page, "port-not-live");
  // The counters are kept per minute, so the graph has nothing to show before that minute is over.
  const minutes = async () => (await alice.call("GET", "/me/traffic?port=10080")).body.minutes.length;
  await expect.poll(minutes, { timeout: 65_000 }).toBe(1);
  await page.goto(`${host.url}/#/edge/reverse-tunnel/10080`);
  await expect(page.getByText("As a table")).toBeVisible();
  await judge(page, "port-detail");
  await busyDay(page);
  await page.reload();
  await expect(page.getByText("GB out")).toBeVisible();
  await page.getByText("As a table").click();
  await judge(page, "port-detail-busy-day");

  // As after an update of the server: the part of the page that is wanted is not there any more.
  await page.route("**/assets/PortDetail*", (route) => route.abort());
  await page.reload();
  await heading(page, "This page did not load");
  await judge(page, "page-of-an-older-server");
  service.stop();
}

async function directory({ host, member }: Story): Promise<void> {
  const alice = await member("alice");
  const { page } = alice;
  await page.goto(`${host.url}/#/reachability/directory`);
  await expect(page.getByText("Nobody shares a service yet.")).toBeVisible();
  await judge(page, "directory-empty");
  await page.goto(`${host.url}/#/edge/reverse-tunnel`);
  await alice.saveKey();
  await alice.register(10080, "Photos of the cat", true);
  await page.goto(`${host.url}/#/reachability/directory`);
  await expect(page.getByText("Photos of the cat")).toBeVisible();
  await judge(page, "directory");
  await page.getByRole("searchbox").fill("a dog");
  await expect(page.getByText("Photos of the cat")).toBeHidden();
  await judge(page, "directory-no-match");
}

async function account({ host, member }: Story): Promise<void> {
  const alice = await member("alice");
  const { page } = alice;
  await page.goto(`${host.url}/#/account`);
  await expect(page.getByText("No tokens.")).toBeVisible();
  await judge(page, "account-without-tokens");
  await alice.call("POST", "/me/tokens", { name: "nightly backup", scopes: ["read"] });
  await page.reload();
  await expect(page.getByText("nightly backup", { exact: true })).toBeVisible();
  await page.getByLabel("Current password", { exact: true }).fill("not the password");
  await page.getByLabel("New password", { exact: true }).fill("another horse, another staple");
  await page.getByRole("button", { name: "Change password" }).click();
  await expect(page.getByRole("alert")).toBeVisible();
  await judge(page, "account");
}

/** A page that shows `text` and has but one look. */
function simple(address: string, name: string, text: string) {
  return async ({ host, member }: Story): Promise<void> => {
    const { page } = await member("alice");
    await page.goto(`${host.url}/#${address}`);
    await expect(page.getByText(text).first()).toBeVisible();
    await judge(page, name);
  };
}

/** What a tab of the administration says: with something in it, before that, and to a search that finds nothing. */
interface Says {
  full: string;
  empty?: string;
  noMatch?: string;
}

function tab(name: string, { full, empty, noMatch }: Says) {
  return async ({ host, administrator }: Story): Promise<void> => {
    const root = await administrator("root");
    const { page } = root;
    if (empty !== undefined) {
      await page.goto(`${host.url}/#/admin/${name}`);
      await expect(page.getByText(empty)).toBeVisible();
      await judge(page, `admin-${name}-empty`);
      await page.goto(`${host.url}/#/edge/reverse-tunnel`);
    }
    const service = await serve("cats");
    await root.settle(service.port);
    await host.admin("account", "add", "bob");
    await host.admin("account", "change", "bob", "--disabled", "true");
    await host.admin("invite", "--account", "carol");
    await page.goto(`${host.url}/#/admin/${name}`);
    await expect(page.locator("main").getByText(full).first()).toBeVisible();
    await judge(page, `admin-${name}`);
    if (noMatch !== undefined) {
      await page.getByRole("searchbox").last().fill("a dog");
      await expect(page.getByText(noMatch, { exact: true })).toBeVisible();
      await judge(page, `admin-${name}-no-match`);
    }
    service.stop();
  };
}

/** What there is to see at each address. */
const SHOWN: Record<string, (story: Story) => Promise<void>> = {
  "/sign-in": signIn,
  "/signed-in": arrived,
  "/invite": invite,
  "/edge/reverse-tunnel": reverseTunnel,
  "/edge/reverse-tunnel/PORT": port,
  "/reachability/jumphost-tunnel": simple("/reachability/jumphost-tunnel", "jumphost-tunnel", "Connection info"),
  "/reachability/jumphost-tunnel/PORT": simple("/reachability/jumphost-tunnel/10080", "jumphost-tunnel-port", "No traffic yet."),
  "/reachability/directory": directory,
  "/help": simple("/help", "help", "encrypted on both legs"),
  "/account": account,
  "/admin/accounts": tab("accounts", { full: "bob", noMatch: "No account matches “a dog”." }),
  "/admin/invitations": tab("invitations", { full: "carol", empty: "No open links." }),
  "/admin/tiers": tab("tiers", { full: "community" }),
  "/admin/sessions": tab("sessions", { full: "MacBook Pro", empty: "Nobody is connected.", noMatch: "No session matches “a dog”." }),
  "/admin/audit": tab("audit", { full: "out_of_range", noMatch: "Nothing matches." }),
  "/admin/health": tab("health", { full: "Version" }),
  "/admin/settings": tab("settings", { full: "forward_address" }),
  "/anywhere-else": simple("/anywhere-else", "not-found", "There is nothing here"),
};

test("every address has its story here", () => {
  const addresses = [
    ...DOORS,
    ...PAGES,
    ...PORT_PAGES.map((page) => `${page}/PORT`),
    ...ADMIN_TABS.map(({ name }) => `/admin/${name}`),
    "/anywhere-else",
  ];
  expect(Object.keys(SHOWN).sort()).toEqual(addresses.sort());
});

for (const [address, shown] of Object.entries(SHOWN)) {
  test(`at ${address} everybody can read and nothing sticks out`, async ({ host, stranger, member, administrator }) => {
    test.setTimeout(150_000);
    await shown({ host, stranger, member, administrator });
  });
}
