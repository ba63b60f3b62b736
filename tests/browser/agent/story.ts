// What a story of the agent's page has: an agent, a server to go through, and somebody in front of a browser window. A story that a page
// complains about fails.

import { expect, type Locator, type Page, test as base } from "@playwright/test";

import { openWindow } from "../window.ts";
import { Agent, Sshd } from "./harness.ts";

export { expect };

export const TUNNELS = "/settings/ssh-tunnels";

/** Somebody at the agent's page. */
export class Desk {
  constructor(
    readonly agent: Agent,
    readonly page: Page,
  ) {}

  /** With the address that `adit open` shows. */
  async enter(): Promise<void> {
    const { url } = JSON.parse(await this.agent.adit("open", "--print", "--json"));
    await this.page.goto(url);
    await expect(this.page.getByRole("heading", { level: 1, name: "SSH Tunnels" })).toBeVisible();
  }

  /** Goes to an address of the page without loading it anew. */
  async go(path: string): Promise<void> {
    await this.page.evaluate((path) => (location.hash = path), path);
  }

  async goToTunnels(): Promise<void> {
    await this.go(TUNNELS);
    await expect(this.page.getByRole("heading", { level: 1, name: "SSH Tunnels" })).toBeVisible();
  }

  card(name: string): Locator {
    return this.page.getByTestId(`card-${name}`);
  }

  /** How a tunnel stands, as its dot in the manager says. */
  dot(name: string): Locator {
    return this.card(name).locator("[data-status]");
  }

  async stands(name: string, status: string, timeout = 10_000): Promise<void> {
    await expect(this.dot(name)).toHaveAttribute("data-status", status, { timeout });
  }

  get tunnelsButton(): Locator {
    return this.page.getByTestId("tunnels-button");
  }

  get popover(): Locator {
    return this.page.getByRole("dialog", { name: "Tunnels", exact: true });
  }

  async openPopover(): Promise<Locator> {
    await this.tunnelsButton.click();
    await expect(this.popover).toBeVisible();
    return this.popover;
  }

  row(name: string): Locator {
    return this.popover.getByTestId(`row-${name}`);
  }

  get menu(): Locator {
    return this.page.getByRole("menu");
  }

  dialog(title: string | RegExp): Locator {
    return this.page.getByRole("dialog", { name: title });
  }

  async clipboard(): Promise<string> {
    return this.page.evaluate(() => navigator.clipboard.readText());
  }
}

export interface Story {
  agent: Agent;
  sshd: Sshd;
  /** Somebody who was let in. */
  desk: Desk;
  /** Somebody else, in front of an empty window. */
  stranger: () => Promise<Desk>;
}

export const test = base.extend<Story>({
  agent: async ({}, use, testInfo) => {
    const agent = await Agent.start();
    await use(agent);
    if (testInfo.status !== testInfo.expectedStatus) await testInfo.attach("agent.log", { body: agent.log });
    await agent.stop();
  },

  sshd: async ({}, use) => {
    const sshd = await Sshd.start();
    await use(sshd);
    await sshd.stop();
  },

  stranger: async ({ agent, browser }, use) => {
    const pages: Page[] = [];
    const complaints: string[] = [];
    await use(async () => {
      const page = await openWindow(browser, complaints);
      await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
      pages.push(page);
      return new Desk(agent, page);
    });
    for (const page of pages) await page.context().close();
    expect(complaints).toEqual([]);
  },

  desk: async ({ stranger }, use) => {
    const desk = await stranger();
    await desk.enter();
    await use(desk);
  },
});
