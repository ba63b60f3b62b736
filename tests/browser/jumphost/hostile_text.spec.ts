// Text that a stranger wrote in a form is shown as text, to its owner and to other members; hostile_client has what comes over SSH.
// That no policy was violated and no dialog opened is checked after every story.

import type { Locator, Page } from "@playwright/test";

import { sideways } from "../judge.ts";
import { expect, test } from "./story.ts";

const MARKUP = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>{{7*7}}`;
const OVERRIDE = "\u202egnp.exe\u2066";
const CONTROLS = "\u0007\u001b[31m";
const HOSTILE = `${MARKUP}${OVERRIDE}${CONTROLS}`;
const LONG = "x".repeat(10_000);

/** Shown as it was written, and not taken for markup. */
async function shownAsText(where: Locator, text: string): Promise<void> {
  await expect(where).toContainText(text);
  await expect(where.locator("script, img")).toHaveCount(0);
  // In an element of its own, so that a direction override ends with it.
  await expect(where.locator("bdi", { hasText: text }).first()).toBeVisible();
}

async function fitsTheWindow(page: Page): Promise<void> {
  expect(await sideways(page)).toBeLessThanOrEqual(0);
}

test("the label of a key", async ({ member }) => {
  const alice = await member("alice");
  await alice.saveKey(HOSTILE);
  await shownAsText(alice.page.getByTestId("key-row"), MARKUP);
  await fitsTheWindow(alice.page);
  await alice.page.getByRole("button", { name: "Remove Key" }).click();
  await shownAsText(alice.page.getByRole("dialog"), MARKUP);
});

test("a label of 10 kB is refused with a sentence", async ({ member }) => {
  const alice = await member("alice");
  const key = await alice.machine.makeKey();
  const refused = await alice.call("POST", "/me/keys", { text: key, label: LONG });
  expect(refused.status).toBe(400);
  expect(refused.body.error).toContain("characters");
  expect(refused.body.error.length).toBeLessThan(300);
  // As a browser without the field's own limit would send it.
  const field = alice.page.getByLabel("Description (optional)");
  await field.evaluate((input) => input.removeAttribute("maxlength"));
  await field.fill(LONG);
  await alice.page.getByRole("textbox", { name: "Public key" }).fill(key);
  await alice.page.getByRole("button", { name: "Save Key" }).click();
  await expect(alice.page.getByText(/label may have \d+ characters/)).toBeVisible();
  await fitsTheWindow(alice.page);
});

test("the description of a port, also in another member's directory", async ({ host, member }) => {
  const [alice, bob] = [await member("alice"), await member("bob")];
  await alice.saveKey();
  await alice.register(10080, HOSTILE);
  await shownAsText(alice.page.getByTestId("registered-10080"), MARKUP);
  const { body: ports } = await alice.call("GET", "/me/ports");
  expect((await alice.call("PATCH", `/me/ports/${ports.items[0].id}`, { shared: true })).status).toBe(200);
  await bob.page.goto(`${host.url}/#/reachability/directory`);
  await shownAsText(bob.page.getByTestId("directory-10080"), MARKUP);
  await fitsTheWindow(bob.page);

  const refused = await alice.call("POST", "/me/ports", { port: 10081, description: LONG, shared: true });
  expect(refused.status).toBe(400);
  expect(refused.body.error).toContain("characters");
});
