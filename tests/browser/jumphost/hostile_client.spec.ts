// What an SSH client calls itself is the one text that comes to the page past every form: a line of up to 255 bytes (RFC 4253 §4.2).
// With a key's label and a port's description it is shown as text, or the client is refused; nothing of it moves the page.

import { readFile } from "node:fs/promises";
import path from "node:path";

import type { Page } from "@playwright/test";

import type { Running } from "../running.ts";
import { PHONE, sideways } from "../judge.ts";
import { expect, type Person, test } from "./story.ts";

const MARKUP = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>{{7*7}}`;
/** Right-to-left marks, overrides and isolates, and one that nobody closes. */
const DIRECTIONS = "\u200f\u202egnp.exe\u202c\u2067\u2066";
/** What a terminal obeys, or takes for the end of a line; the version line itself ends with LF, so that is not among them. */
const CONTROLS = "\u0007\u0008\u001b[31m\u001b]0;x\u0007\u007f\u0085\u009b2J";
/** None of these reaches a page as it is. */
const RAW = /[\u0000-\u0008\u000e-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

/** The most that a version line may have, without the CR and LF that are sent after it. */
const LONGEST = 253;

/** `text` after the protocol's prefix, filled up to the longest line there may be. */
function version(text: string): string {
  const begun = `SSH-2.0-${text}`;
  return begun + "x".repeat(LONGEST - Buffer.byteLength(begun));
}

/** A client of `person` that calls itself so. */
function client({ host, machine }: Person, version: string): Running {
  const key = path.join(machine.home, ".ssh/adit_jump");
  return machine.python("hostile_client.py", host.address, host.sshPort, key, 10080, version);
}

/** Everything that a phone shows of a page: `texts` are in it, as text, and it lies within the window. */
async function harmless(page: Page, where: string, texts: string[]): Promise<void> {
  await page.setViewportSize(PHONE);
  for (const text of texts) await expect(page.locator("bdi", { hasText: text }).first(), where).toBeVisible();
  await expect(page.locator("main script, main img, dialog script, dialog img"), where).toHaveCount(0);
  // Titles are shown as well, on hover.
  const shown = await page.evaluate(() => {
    const titles = [...document.querySelectorAll("[title], [aria-label]")].map((element) => `${element.getAttribute("title")} ${element.getAttribute("aria-label")}`);
    return [document.body.innerText, ...titles].join("\n");
  });
  expect(shown.match(RAW), where).toBeNull();
  expect(await sideways(page), where).toBeLessThanOrEqual(0);
}

for (const [what, text] of [
  ["markup", MARKUP],
  ["direction marks", `${DIRECTIONS}directions`],
  ["control characters", `${CONTROLS}controls`],
  ["one long word", "W".repeat(200)],
] as const) {
  test(`a client, a label and a description of ${what} stay text on every page that shows them`, async ({ host, administrator }) => {
    const root = await administrator("root");
    const { page } = root;
    // What is left of the text when what is not printable is shown as an escape.
    const [visible] = /(<script>.*|directions|controls|W+)$/.exec(text) ?? [""];
    await root.saveKey(text);
    await root.register(10080, text, true);
    await client(root, version(text)).says("sharing");

    await expect(page.getByTestId("tunnel-10080")).toContainText(visible);
    await harmless(page, "the member's page", [visible]);
    await page.getByRole("button", { name: "Close port 10080" }).click();
    await harmless(page, "the question before a tunnel is closed", []);
    await page.keyboard.press("Escape");
    await page.goto(`${host.url}/#/edge/reverse-tunnel/10080`);
    await expect(page.getByText("LIVE", { exact: true })).toBeVisible();
    await harmless(page, "a port's page", [visible]);
    await page.goto(`${host.url}/#/reachability/directory`);
    await harmless(page, "the directory", [visible]);

    await page.goto(`${host.url}/#/admin/sessions`);
    const row = page.getByTestId(/^session-/);
    await expect(row).toContainText(visible);
    await harmless(page, "the live sessions", [visible]);
    await row.getByRole("button", { name: /^End session/ }).click();
    await harmless(page, "the question before a session is ended", []);
    await page.keyboard.press("Escape");

    await page.goto(`${host.url}/#/admin/audit`);
    const entry = page.getByRole("row").filter({ hasText: "client version" });
    await expect(entry).toContainText(visible);
    await harmless(page, "the audit log", [visible]);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download CSV" }).click()]);
    expect((await readFile(await download.path(), "utf8")).match(RAW), "the audit log as a file").toBeNull();
    // Whoever reads the server's log reads it in a terminal.
    expect(host.log.replaceAll("\t", " ").match(RAW), "the server's log").toBeNull();
  });
}

for (const [what, line] of [
  ["one byte too long", `${version("x")}x`],
  ["10 kB", `SSH-2.0-${"x".repeat(10_000)}`],
  ["of another protocol", "HTTP/1.1 200 OK"],
] as const) {
  test(`a client whose version is ${what} is refused, and nobody sees it`, async ({ host, administrator }) => {
    const root = await administrator("root");
    const { page } = root;
    await root.saveKey();
    await client(root, line).says("refused");
    await page.goto(`${host.url}/#/admin/sessions`);
    await expect(page.getByText("Nobody is connected.")).toBeVisible();
    await page.goto(`${host.url}/#/admin/audit`);
    await expect(page.getByRole("row").filter({ hasText: "key-added" })).toBeVisible();
    await expect(page.getByRole("row").filter({ hasText: "client version" })).toHaveCount(0);
    // The same client with a line that may be sent is let in, so it was for the line.
    await client(root, version("x")).says("sharing");
    await page.goto(`${host.url}/#/edge/reverse-tunnel`);
    await expect(page.getByTestId("tunnel-10080")).toBeVisible();
  });
}
