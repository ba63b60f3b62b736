// A browser window as somebody has it, and what can be said of any page in it.

import { readdir, readFile } from "node:fs/promises";
import path from "node:path";

import { type Browser, expect, type Locator, type Page, type Route } from "@playwright/test";

import { REPOSITORY } from "./running.ts";

/** A page that complains has a fault: a violated content security policy, an error nobody caught, a dialog that a stranger's script opened. */
function watch(page: Page, complaints: string[]): void {
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  page.on("dialog", (dialog) => {
    complaints.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("console", (message) => {
    if (/content security policy|trusted ?types?|refused to/i.test(message.text())) complaints.push(message.text());
  });
}

/** The files of the page, which are in the binary. */
function isOfPage({ pathname }: URL): boolean {
  return pathname === "/" || pathname.startsWith("/assets/");
}

/** With ADIT_PAGE set they come from `web/dist`, so that a change of the page can be tried before adit is built with it. */
async function fromDist(route: Route): Promise<void> {
  const { pathname } = new URL(route.request().url());
  await route.fulfill({ path: path.join(REPOSITORY, "web/dist", pathname === "/" ? "index.html" : pathname) });
}

/** A window of its own, as if of another person. */
export async function openWindow(browser: Browser, complaints: string[]): Promise<Page> {
  const context = await browser.newContext();
  if (process.env.ADIT_PAGE) await context.route(isOfPage, fromDist);
  const page = await context.newPage();
  watch(page, complaints);
  return page;
}

/** Presses Tab until the focus is there, as a person would; more than a page of presses is a page that can't be used. */
export async function tabTo(target: Locator): Promise<void> {
  const page = target.page();
  const passed: string[] = [];
  for (let presses = 0; presses < 60; presses += 1) {
    if (await target.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
    passed.push(await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 80) ?? "nothing"));
  }
  throw new Error(`60 times Tab does not lead to ${target}, but to\n${passed.join("\n")}`);
}

/** Tab and Shift+Tab, once around and further, reach nothing behind an open dialog. */
export async function keepsTheFocus(page: Page, dialog: Locator, name: string): Promise<void> {
  const stops = await dialog.locator("a[href], button, input, select, textarea, summary").count();
  for (const keys of ["Tab", "Shift+Tab"]) {
    for (let presses = 0; presses < stops + 2; presses += 1) {
      await page.keyboard.press(keys);
      const behind = await page.evaluate(() => {
        const focused = document.activeElement;
        // On its way around the focus passes the browser's own window; then the document has it.
        const away = focused === null || focused === document.body || focused.closest("dialog") !== null;
        return away ? null : focused.outerHTML.slice(0, 100);
      });
      expect.soft(behind, `${keys} in ${name}`).toBeNull();
    }
  }
}

/** What all dialogs are made of. */
const MADE_OF = ["ui/Dialog.svelte", "ui/Confirm.svelte", "agent/parts/FormDialog.svelte"];

/** Which files of these folders of the page have more dialogs than `cases` names them. */
export async function dialogsWithoutCase(folders: string[], cases: string[]): Promise<string[]> {
  const source = path.join(REPOSITORY, "web/src");
  const files = (await readdir(source, { recursive: true })).filter((file) => file.endsWith(".svelte"));
  const without: string[] = [];
  for (const file of files) {
    if (!folders.some((folder) => file.startsWith(`${folder}/`)) || MADE_OF.includes(file)) continue;
    const dialogs = (await readFile(path.join(source, file), "utf8")).match(/<(Dialog|Confirm|LinkDialog|FormDialog|dialog)\b/g) ?? [];
    const known = cases.filter((of) => of === file).length;
    if (dialogs.length > known) without.push(`${file}: ${dialogs.length} dialogs, ${known} cases`);
  }
  return without;
}
