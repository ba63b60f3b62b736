// Many at once: what an administrator's browser has to bear with 1,000 tunnels open, and a member's with 300. What is bounded is
// what the page fetches and what it keeps in the document, which no machine's speed moves; how smooth it was is only told.

import path from "node:path";

import type { Page } from "@playwright/test";

import type { Running } from "../running.ts";
import { serve } from "../web.ts";
import { type JumpHost, listens, type Machine } from "./harness.ts";
import { expect, test } from "./story.ts";

/** The rows of one page of a list. */
const PAGE = 50;

/** Members who share ports, all from one process. */
class Crowd {
  private constructor(private readonly running: Running) {}

  /** `sessions` of `forwards` ports each, with the keys of `accounts` in turn; each account may hold what falls to it. */
  static async gather(host: JumpHost, machine: Machine, localPort: number, crowd: { accounts: string[]; sessions: number; forwards: number }) {
    const { accounts, sessions, forwards } = crowd;
    const keys: string[] = [];
    for (const account of accounts) {
      const file = `.ssh/${account}`;
      await machine.makeKey(file);
      keys.push(path.join(machine.home, file));
      await host.admin("key", "add", account, `${keys.at(-1)}.pub`);
    }
    const running = machine.python("crowd.py", host.address, host.sshPort, sessions, forwards, FIRST_PORT, localPort, ...keys);
    await running.says("live", 60_000);
    return new Crowd(running);
  }

  /** A visitor at each port, so that each has something new to show. */
  async move(): Promise<void> {
    const before = this.count("touched");
    this.running.child.stdin?.write("touch\n");
    await expect.poll(() => this.count("touched"), { timeout: 30_000 }).toBe(before + 1);
  }

  async lost(sessions: number): Promise<void> {
    await this.running.says(`lost ${sessions}\n`);
  }

  private count(word: string): number {
    return this.running.output.split(`${word}\n`).length - 1;
  }
}
const FIRST_PORT = 10_000;

/** What a page fetches, keeps and how it moves, from `begin` on. */
class Load {
  private bytes = 0;

  private constructor(private readonly page: Page) {}

  static async of(page: Page): Promise<Load> {
    const load = new Load(page);
    const browser = await page.context().newCDPSession(page);
    // Also what comes of an answer that does not end, as the stream of events.
    browser.on("Network.dataReceived", ({ dataLength }) => (load.bytes += dataLength));
    await browser.send("Network.enable");
    return load;
  }

  async begin(rows: string): Promise<void> {
    this.bytes = 0;
    await this.page.evaluate((rows) => {
      const seen = { longest: 0, tasks: 0, gap: 0, replaced: 0, last: performance.now(), over: false };
      Object.assign(window, { seen });
      new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) {
          seen.tasks += 1;
          seen.longest = Math.max(seen.longest, duration);
        }
      }).observe({ type: "longtask" });
      const frame = (now: number) => {
        seen.gap = Math.max(seen.gap, now - seen.last);
        seen.last = now;
        if (!seen.over) requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
      const parent = document.querySelector(rows)?.parentElement;
      if (!parent) throw new Error(`nothing is ${rows}`);
      new MutationObserver((changes) => {
        for (const { addedNodes } of changes) seen.replaced += addedNodes.length;
      }).observe(parent, { childList: true });
    }, rows);
  }

  /** Bytes fetched, elements in the document, and rows that were made anew, since `begin`; the rest is printed. */
  async end(name: string): Promise<{ bytes: number; elements: number; replaced: number }> {
    const seen = await this.page.evaluate(() => {
      const { seen } = window as unknown as { seen: { longest: number; tasks: number; gap: number; replaced: number; over: boolean } };
      seen.over = true;
      return { ...seen, elements: document.querySelectorAll("*").length };
    });
    const told = `${this.bytes} bytes, ${seen.elements} elements, ${seen.tasks} long tasks, longest ${seen.longest} ms, longest frame ${Math.round(seen.gap)} ms`;
    console.log(`${name}: ${told}`);
    return { bytes: this.bytes, elements: seen.elements, replaced: seen.replaced };
  }
}

test("1,000 tunnels before an administrator: pages of rows, a filter, and an end", async ({ host, administrator }) => {
  test.slow();
  const [root, service] = [await administrator("root"), await serve("hello")];
  const { page } = root;
  const accounts = Array.from({ length: 10 }, (_, number) => `member-${number}`);
  await host.admin("tier", "set", "plus", "--forwards", "100");
  for (const [number, account] of accounts.entries()) {
    // The last of them have the server's own limit, raised; the others their tier's.
    await host.admin("account", "add", account, "--tier", number < 5 ? "plus" : "community");
  }
  await host.admin("tier", "set", "community", "--forwards", "0");
  const crowd = await Crowd.gather(host, root.machine, service.port, { accounts, sessions: 250, forwards: 4 });
  const load = await Load.of(page);

  await page.goto(`${host.url}/#/admin/sessions`);
  const rows = page.getByTestId(/^session-/);
  await expect(page.getByText("1–50 of 250 sessions")).toBeVisible();
  await expect(page.getByText("1,000 ports")).toBeVisible();
  await expect(rows).toHaveCount(PAGE);

  const answers: number[] = [];
  page.on("response", (answer) => {
    if (answer.url().includes("/admin/sessions")) answers.push(answer.status());
  });
  await load.begin("[data-testid^=session-]");
  await crowd.move();
  const asked = answers.length;
  await expect.poll(() => answers.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(asked + 3);
  await expect(rows.first()).toContainText("of 4");
  const { bytes, elements, replaced } = await load.end("administrator, 1,000 tunnels");
  expect(bytes / answers.length).toBeLessThan(32_000);
  expect(elements).toBeLessThan(2_000);
  expect(replaced, "figures move, rows stay").toBe(0);

  await page.getByRole("button", { name: "Next" }).click();
  await expect(page.getByText("51–100 of 250 sessions")).toBeVisible();
  await expect(rows).toHaveCount(PAGE);

  const search = page.getByLabel("Search by account, address, port or client");
  await search.fill("member-3");
  await expect(page.getByText("1–25 of 25 sessions")).toBeVisible();
  await search.fill("10500");
  await expect(rows).toHaveCount(1);
  await expect(rows).toContainText("10500, 10501, 10502, 10503");
  await rows.getByRole("button", { name: /^End session/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End session" }).click();
  await crowd.lost(1);
  await expect(page.getByText("No session matches “10500”.")).toBeVisible();
  expect(await listens(host, 10_500)).toBe(false);
  await search.fill("");
  await expect(page.getByText("1–50 of 249 sessions")).toBeVisible();
  await expect(page.getByText("996 ports")).toBeVisible();
  service.stop();
});

test("300 tunnels before the member who shares them", async ({ host, member }) => {
  test.slow();
  const [alice, service] = [await member("alice"), await serve("hello")];
  const { page } = alice;
  await host.admin("tier", "set", "plus", "--forwards", "300");
  await host.admin("account", "change", "alice", "--tier", "plus");
  const crowd = await Crowd.gather(host, alice.machine, service.port, { accounts: ["alice"], sessions: 10, forwards: 30 });
  await expect(page.getByText("300 ports", { exact: true })).toBeVisible();
  await expect(page.getByTestId("tunnel-10000")).toBeVisible();
  const load = await Load.of(page);
  await load.begin("[data-testid^=tunnel-]");
  await crowd.move();
  await expect(page.getByTestId("tunnel-10000")).toContainText("0 of 1");
  const { elements, replaced } = await load.end("member, 300 tunnels");
  expect(elements).toBeLessThan(3_000);
  expect(replaced, "figures move, rows stay").toBe(0);

  const tunnels = page.getByTestId(/^tunnel-/);
  await expect(tunnels).toHaveCount(PAGE);
  const pages = page.getByRole("navigation", { name: "Pages of live ports" });
  await expect(pages).toContainText("1–50 of 300 live ports");
  for (const from of [51, 101, 151, 201, 251]) {
    await pages.getByRole("button", { name: "Next" }).click();
    await expect(pages).toContainText(`${from}–${from + PAGE - 1} of 300 live ports`);
  }
  // The session of the last 30 ports ends; the page that is looked at has 20 left.
  await page.getByRole("button", { name: "Close port 10299" }).click();
  const dialog = page.getByRole("dialog");
  await expect(dialog).toContainText("all its 30 ports: 10270, 10271, 10272, 10273, 10274, 10275, 10276, 10277 and 22 more");
  await dialog.getByRole("button", { name: "Close", exact: true }).last().click();
  await crowd.lost(1);
  await expect(pages).toContainText("251–270 of 270 live ports");
  await expect(tunnels).toHaveCount(20);
  service.stop();
});
