// Every dialog of the page: with nothing but a keyboard it opens, keeps the focus, closes with Esc and gives the focus back to what
// opened it; and axe judges it as it judges pages.

import type { Locator, Page } from "@playwright/test";

import { serve } from "../web.ts";
import { judge, PHONE } from "../judge.ts";
import { dialogsWithoutCase, keepsTheFocus } from "../window.ts";
import { expect, type Person, test } from "./story.ts";

interface Case {
  /** The file in web/src that says what is in the dialog. */
  of: string;
  name: string;
  at: string;
  /** The button that leads to it, and has the focus again in the end. */
  opener: (page: Page) => Locator;
  /** What is pressed, one after the other, in the dialogs on the way to it. */
  through?: ((dialog: Locator) => Promise<void>)[];
  title: string;
}

const button = (name: string) => (page: Page) => page.getByRole("button", { name, exact: true });

/** Presses a button of a dialog that is on the way to another. */
const press = (name: string) => async (dialog: Locator) => {
  await dialog.getByRole("button", { name, exact: true }).focus();
  await dialog.page().keyboard.press("Enter");
};

const HERE = "/edge/reverse-tunnel";
const MEMBER: Case[] = [
  { of: "jumphost/reverse-tunnel/PortForm.svelte", name: "register-port", at: HERE, opener: button("Register Port"), title: "Register a port" },
  { of: "jumphost/reverse-tunnel/PortForm.svelte", name: "edit-port", at: HERE, opener: button("Edit port 10080"), title: "Port 10080" },
  { of: "jumphost/reverse-tunnel/RegisteredPorts.svelte", name: "remove-port", at: HERE, opener: button("Remove port 10080"), title: "Remove port 10080 from your list?" },
  { of: "ui/QrButton.svelte", name: "qr-code", at: HERE, opener: button("QR code of port 16667"), title: "QR code of port 16667" },
  { of: "ui/QrButton.svelte", name: "qr-code-refused-port", at: "/reachability/directory", opener: button("QR code of port 10080"), title: "QR code of port 10080" },
  { of: "jumphost/reverse-tunnel/LiveTunnels.svelte", name: "close-tunnel", at: HERE, opener: button("Close port 10080"), title: "Close this tunnel?" },
  { of: "jumphost/reverse-tunnel/KeysCard.svelte", name: "remove-key", at: HERE, opener: button("Remove Key MacBook Pro"), title: "Remove this key?" },
  { of: "jumphost/TokensCard.svelte", name: "new-token", at: "/account", opener: button("New token"), title: "New token" },
  {
    of: "jumphost/TokensCard.svelte",
    name: "token-made",
    at: "/account",
    opener: button("New token"),
    through: [
      async (dialog) => {
        await dialog.getByLabel("What is it for?").fill("hourly backup");
        await dialog.page().keyboard.press("Enter");
      },
    ],
    title: "Your new token",
  },
  { of: "jumphost/TokensCard.svelte", name: "remove-token", at: "/account", opener: button("Remove token nightly backup"), title: "Remove this token?" },
];

const ADMINISTRATOR: Case[] = [
  { of: "jumphost/admin/AccountForm.svelte", name: "add-account", at: "/admin/accounts", opener: button("Add account"), title: "Add an account" },
  { of: "jumphost/admin/AccountForm.svelte", name: "manage-account", at: "/admin/accounts", opener: button("Manage bob"), title: "Account bob" },
  { of: "jumphost/admin/AccountForm.svelte", name: "manage-own-account", at: "/admin/accounts", opener: button("Manage root"), title: "Account root" },
  {
    of: "jumphost/admin/LinkDialog.svelte",
    name: "password-link-made",
    at: "/admin/accounts",
    opener: button("Manage bob"),
    through: [press("Make a password link")],
    title: "Password link for bob",
  },
  { of: "jumphost/admin/Accounts.svelte", name: "password-link-of-another", at: "/admin/accounts", opener: button("Manage root"), through: [press("Make a password link")], title: "Password link for root" },
  { of: "jumphost/admin/Accounts.svelte", name: "disable-account", at: "/admin/accounts", opener: button("Manage bob"), through: [press("Disable")], title: "Disable bob?" },
  { of: "jumphost/admin/Accounts.svelte", name: "remove-account", at: "/admin/accounts", opener: button("Manage root"), through: [press("Remove")], title: "Remove root?" },
  { of: "jumphost/admin/Invitations.svelte", name: "make-invitation", at: "/admin/invitations", opener: button("Make a link"), title: "Make an invitation" },
  { of: "jumphost/admin/Invitations.svelte", name: "invitation-made", at: "/admin/invitations", opener: button("Make a link"), through: [press("Make link")], title: "Your invitation link" },
  {
    of: "jumphost/admin/Invitations.svelte",
    name: "revoke-invitation",
    at: "/admin/invitations",
    opener: (page) => page.getByRole("button", { name: /^Revoke link/ }).first(),
    title: "Revoke this link?",
  },
  { of: "jumphost/admin/TierForm.svelte", name: "add-tier", at: "/admin/tiers", opener: button("Add tier"), title: "Add a tier" },
  { of: "jumphost/admin/TierForm.svelte", name: "edit-tier", at: "/admin/tiers", opener: button("Edit tier plus"), title: "Tier plus" },
  { of: "jumphost/admin/Tiers.svelte", name: "remove-tier", at: "/admin/tiers", opener: button("Remove tier plus"), title: "Remove tier plus?" },
  {
    of: "jumphost/admin/LiveSessions.svelte",
    name: "end-session",
    at: "/admin/sessions",
    opener: (page) => page.getByRole("button", { name: /^End session \d+ of root$/ }).first(),
    title: "End this session?",
  },
];

/** The menu is a dialog on a phone alone. */
const MENU = "ui/Frame.svelte";

test("every dialog has its case here", async () => {
  const cases = [...MEMBER, ...ADMINISTRATOR].map(({ of }) => of);
  expect(await dialogsWithoutCase(["jumphost", "ui"], [MENU, ...cases])).toEqual([]);
});

async function opens(page: Page, { opener, through = [], title }: Case): Promise<Locator> {
  const dialog = page.getByRole("dialog");
  await opener(page).focus();
  await page.keyboard.press("Enter");
  for (const step of through) {
    await expect(dialog).toBeVisible();
    await step(dialog);
  }
  const wanted = page.getByRole("dialog", { name: title, exact: true });
  await expect(wanted).toBeVisible();
  return wanted;
}

async function holds({ page, host }: Person, tested: Case): Promise<void> {
  const { name, at, opener } = tested;
  // Loaded anew: a page that is come to from another takes the focus to its heading.
  await page.goto("about:blank");
  await page.goto(`${host.url}/#${at}`);
  await expect(opener(page)).toBeVisible();
  const dialog = await opens(page, tested);
  await expect(dialog.locator(":focus"), `${name} takes the focus`).toHaveCount(1);
  await keepsTheFocus(page, dialog, name);
  await judge(page, `dialog-${name}`);
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog"), `${name} closes`).toHaveCount(0);
  await expect.soft(opener(page), `${name} gives the focus back`).toBeFocused();
}

test("the dialogs of a member", async ({ member }) => {
  test.setTimeout(150_000);
  const [alice, service] = [await member("alice"), await serve("cats")];
  await alice.settle(service.port);
  await alice.call("POST", "/me/tokens", { name: "nightly backup", scopes: ["read"] });
  for (const tested of MEMBER) await test.step(tested.name, () => holds(alice, tested));
  service.stop();
});

test("the dialogs of an administrator", async ({ host, administrator }) => {
  test.setTimeout(200_000);
  const [root, service] = [await administrator("root"), await serve("cats")];
  await root.settle(service.port);
  await host.admin("account", "add", "bob");
  await host.admin("invite", "--account", "carol");
  await host.admin("tier", "set", "plus", "--forwards", "40", "--bandwidth-to-owner", "12500000");
  for (const tested of ADMINISTRATOR) await test.step(tested.name, () => holds(root, tested));
  service.stop();
});

test("the menu on a phone", async ({ member }) => {
  const { page } = await member("alice");
  await page.setViewportSize(PHONE);
  const opener = page.getByRole("button", { name: "Menu", exact: true });
  await opener.focus();
  await page.keyboard.press("Enter");
  const menu = page.getByRole("dialog", { name: "Menu" });
  await expect(menu.locator(":focus")).toHaveCount(1);
  await keepsTheFocus(page, menu, "the menu");
  await judge(page, "dialog-menu", [PHONE]);
  await page.setViewportSize(PHONE);
  await page.keyboard.press("Escape");
  await expect(menu).toHaveCount(0);
  await expect(opener).toBeFocused();
});
