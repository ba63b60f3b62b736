// How a page is judged wherever it shows: by axe, in both themes, at a desk and on a phone. With ADIT_SHOTS set, a picture of each
// goes to target/browser-shots, to be looked at by a person.

import path from "node:path";

import { AxeBuilder } from "@axe-core/playwright";
import { expect, type Page } from "@playwright/test";

const SHOTS = path.resolve(import.meta.dirname, "../../target/browser-shots");
export const WIDE = { width: 1280, height: 860 };
export const PHONE = { width: 360, height: 740 };

/** Nothing serious in either theme and at either width, and nothing to scroll sideways. */
export async function judge(page: Page, name: string, viewports = [WIDE, PHONE]): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    for (const viewport of viewports) {
      await page.setViewportSize(viewport);
      // Without the page of its own that it would open to look into frames: there are none.
      const { violations } = await new AxeBuilder({ page }).setLegacyMode().options({ resultTypes: ["violations"] }).analyze();
      const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
      const told = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
      expect.soft(told, `${name}, ${colorScheme}, ${viewport.width} px`).toEqual([]);
      expect.soft(await sideways(page), `${name}, ${viewport.width} px`).toBeLessThanOrEqual(0);
      if (process.env.ADIT_SHOTS) {
        // A dialog lies over the window, not over the page.
        const fullPage = (await page.getByRole("dialog").count()) === 0;
        await page.screenshot({ path: path.join(SHOTS, `${name}-${colorScheme}-${viewport.width}.png`), fullPage });
      }
    }
  }
  await page.setViewportSize(WIDE);
}

/** By how many pixels the page, or an open dialog in it, is wider than the window. */
export async function sideways(page: Page): Promise<number> {
  return page.evaluate(() => {
    const dialogs = [...document.querySelectorAll("dialog")].map((dialog) => dialog.scrollWidth - dialog.clientWidth);
    return Math.max(document.documentElement.scrollWidth - innerWidth, ...dialogs);
  });
}
