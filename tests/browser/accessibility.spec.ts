// Every page, in both themes and on a phone, as axe judges it; and the main job with nothing but a keyboard.
// With ADIT_SHOTS set, a picture of each goes to target/browser-shots, to be looked at by a person.

import path from "node:path";

import { AxeBuilder } from "@axe-core/playwright";
import type { Locator, Page } from "@playwright/test";

import { serve, visit } from "./harness.ts";
import { expect, type Person, PASSWORD, test } from "./story.ts";

const SHOTS = path.resolve(import.meta.dirname, "../../target/browser-shots");
const WIDE = { width: 1280, height: 860 };
const PHONE = { width: 360, height: 740 };

/** Nothing serious in either theme and at either width, and nothing to scroll sideways. */
async function judge(page: Page, name: string): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    for (const viewport of [WIDE, PHONE]) {
      await page.setViewportSize(viewport);
      const { violations } = await new AxeBuilder({ page }).analyze();
      const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
      const told = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
      expect.soft(told, `${name}, ${colorScheme}, ${viewport.width} px`).toEqual([]);
      const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect.soft(sideways, `${name}, ${viewport.width} px`).toBeLessThanOrEqual(0);
      if (process.env.ADIT_SHOTS) {
        await page.screenshot({ path: path.join(SHOTS, `${name}-${colorScheme}-${viewport.width}.png`), fullPage: true });
      }
    }
  }
  await page.setViewportSize(WIDE);
}

test("the pages of somebody who is not signed in", async ({ host, stranger }) => {
  test.slow();
  const { page } = await stranger("nina");
  await page.goto(host.url);
  await expect(page.getByTestId("first-run")).toBeVisible();
  await judge(page, "sign-in");
  await page.goto(host.firstAdministratorLink);
  await expect(page.getByRole("heading", { name: "Set up this jump host" })).toBeVisible();
  await judge(page, "first-administrator");
  await page.goto((await host.admin("invite", "--account", "nina")).url);
  await expect(page.getByRole("heading", { name: "You are invited" })).toBeVisible();
  await judge(page, "invitation");
  await page.goto(`${host.url}/#/invite/0123456789`);
  await expect(page.getByRole("heading", { name: "This link does not work" })).toBeVisible();
  await judge(page, "invitation-gone");
});

/** A member for whom every card has something in it. */
async function settle(person: Person, localPort: number): Promise<void> {
  await person.saveKey("MacBook Pro");
  await person.register(10080, "Photos of the cat");
  await person.register(16667, "");
  const { body: me } = await person.call("GET", "/me");
  await person.call("PATCH", `/me/ports/${me.ports[0].id}`, { shared: true });
  await person.forward(10080, localPort);
  await person.forward(9999, localPort);
  await visit(person.host, 10080);
  await expect(person.page.getByTestId("refusal-9999")).toBeVisible();
}

test("the pages of a member", async ({ host, member }) => {
  test.slow();
  const service = await serve("cats".repeat(20_000));
  const alice = await member("alice");
  const { page } = alice;
  await expect(page.getByTestId("key-badge")).toHaveText("NOT CONFIGURED");
  await judge(page, "reverse-tunnel-without-key");
  await settle(alice, service.port);
  await judge(page, "reverse-tunnel");
  await page.getByRole("button", { name: "Register Port" }).click();
  await judge(page, "register-port");
  await page.getByRole("button", { name: "Cancel" }).click();
  for (const [name, route, shows] of [
    ["directory", "/reachability/directory", "Photos of the cat"],
    ["help", "/help", "encrypted on both legs"],
    ["account", "/account", "Change password"],
    ["port-detail", "/edge/reverse-tunnel/10080", "As a table"],
  ] as const) {
    // The counters are kept per minute, so the graph has nothing to show before that minute is over.
    if (name === "port-detail") {
      const minutes = async () => (await alice.call("GET", "/me/traffic?port=10080")).body.minutes.length;
      await expect.poll(minutes, { timeout: 65_000 }).toBe(1);
    }
    await page.goto(`${host.url}/#${route}`);
    await expect(page.getByText(shows).first()).toBeVisible();
    await judge(page, name);
  }
  service.stop();
});

test("the pages of an administrator", async ({ host, administrator }) => {
  test.slow();
  const service = await serve("cats");
  const root = await administrator("root");
  await settle(root, service.port);
  await host.admin("account", "add", "bob");
  await host.admin("invite", "--account", "carol");
  for (const [tab, shows] of [
    ["accounts", "bob"],
    ["invitations", "carol"],
    ["tiers", "community"],
    ["sessions", "MacBook Pro"],
    ["audit", "out_of_range"],
    ["health", "Version"],
    ["settings", "forward_address"],
  ] as const) {
    await root.page.goto(`${host.url}/#/admin/${tab}`);
    await expect(root.page.locator("main").getByText(shows).first()).toBeVisible();
    await judge(root.page, `admin-${tab}`);
  }
  service.stop();
});

/** Presses Tab until the focus is there, as a person would; more than a page of presses is a page that can't be used. */
async function tabTo(target: Locator): Promise<void> {
  const page = target.page();
  const passed: string[] = [];
  for (let presses = 0; presses < 60; presses += 1) {
    if (await target.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
    passed.push(await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 80) ?? "nothing"));
  }
  throw new Error(`60 times Tab does not lead to ${target}, but to\n${passed.join("\n")}`);
}

test("sign-in, key, command, port and Remove Key with the keyboard alone", async ({ host, member, stranger }) => {
  await member("alice");
  const alice = await stranger("alice");
  const { page } = alice;
  const { keyboard } = page;
  const key = await alice.machine.makeKey();

  await page.goto(host.url);
  await tabTo(page.getByRole("textbox", { name: "Account" }));
  await keyboard.type("alice");
  await tabTo(page.getByLabel("Password", { exact: true }));
  await keyboard.type(PASSWORD);
  await keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1, name: "Reverse Tunnel" })).toBeFocused();

  await tabTo(page.getByRole("textbox", { name: "Public key" }));
  await keyboard.insertText(key);
  await tabTo(page.getByRole("button", { name: "Save Key" }));
  await keyboard.press("Enter");
  await expect(page.getByTestId("key-badge")).toHaveText("CONFIGURED");
  // The form is gone; the focus stays in the card.
  await expect(page.getByRole("button", { name: "Add another key" })).toBeFocused();

  const keepAlive = page.getByRole("tab", { name: "Keep alive" });
  await tabTo(page.getByRole("tab", { name: "Once" }));
  await keyboard.press("ArrowRight");
  await expect(keepAlive).toBeFocused();
  await expect(page.getByTestId("command-keepalive")).toBeVisible();

  await tabTo(page.getByRole("button", { name: "Register Port" }));
  await keyboard.press("Enter");
  const dialog = page.getByRole("dialog");
  await tabTo(dialog.getByLabel("Port", { exact: true }));
  await keyboard.type("10080");
  await keyboard.press("Enter");
  await expect(page.getByTestId("registered-10080")).toBeVisible();
  await expect(page.getByRole("button", { name: "Register Port" })).toBeFocused();

  await tabTo(page.getByRole("button", { name: "Remove Key" }));
  await keyboard.press("Enter");
  await expect(dialog.getByRole("button", { name: "Cancel" })).toBeFocused();
  await keyboard.press("Escape");
  await expect(dialog).toBeHidden();
  await expect(page.getByRole("button", { name: "Remove Key" })).toBeFocused();
  await keyboard.press("Enter");
  await tabTo(dialog.getByRole("button", { name: "Remove Key" }));
  await keyboard.press("Enter");
  await expect(page.getByTestId("key-badge")).toHaveText("NOT CONFIGURED");
});
