// What a story of the mesh's page has: agents, and somebody in front of a browser window. A story that a page complains about fails.

import { expect, type Locator, type Page, test as base } from "@playwright/test";

import { openWindow } from "../window.ts";
import { Mesh, type MeshAgent, type Plan } from "./harness.ts";

export { expect };

const SERVICES = "/mesh/services";

/** Somebody at the page of one agent. */
export class Desk {
  constructor(readonly page: Page) {}

  async visit({ url }: MeshAgent): Promise<void> {
    await this.page.goto(`${url}/`);
    await expect(this.page.getByRole("heading", { level: 1, name: "Forwarded Services" })).toBeVisible();
    expect(new URL(this.page.url()).hash).toBe(`#${SERVICES}`);
  }

  /** Goes to an address of the page without loading it anew. */
  async go(path: string): Promise<void> {
    await this.page.evaluate((path) => (location.hash = path), path);
  }

  get services(): Locator {
    return this.page.getByTestId("service");
  }

  /** The row with a key at a listener's agent. */
  service(key: string, ingress: string): Locator {
    return this.services
      .filter({ has: this.page.getByTestId("key").getByText(key, { exact: true }) })
      .filter({ has: this.page.locator("[data-label=Ingress]").getByText(ingress, { exact: true }) });
  }

  get map(): Locator {
    return this.page.getByTestId("map");
  }

  agent(name: string): Locator {
    return this.map.getByRole("button", { name: new RegExp(`^${name},`) });
  }

  /** Names of the agents whose path stands out. */
  async onPath(): Promise<string[]> {
    const labels = await this.map.locator(".agent.on").evaluateAll((agents) => agents.map((agent) => agent.getAttribute("aria-label") ?? ""));
    return labels.map((label) => label.split(",")[0] ?? "").sort();
  }
}

export interface Story {
  /** Starts agents. */
  mesh: (plans: Record<string, Plan>) => Promise<Mesh>;
  desk: Desk;
}

export const test = base.extend<Story>({
  mesh: async ({}, use, testInfo) => {
    const started: Mesh[] = [];
    await use(async (plans) => {
      const mesh = await Mesh.start(plans);
      started.push(mesh);
      return mesh;
    });
    for (const mesh of started) {
      if (testInfo.status !== testInfo.expectedStatus) await testInfo.attach("mesh.log", { body: mesh.log });
      await mesh.stop();
    }
  },

  desk: async ({ browser }, use) => {
    const complaints: string[] = [];
    const page = await openWindow(browser, complaints);
    page.on("console", (message) => {
      // That an agent is gone is told by the browser as well; stories that stop one look for what the page says of it.
      if (message.type() === "error" && !/Failed to load resource|net::ERR_/.test(message.text())) complaints.push(message.text());
    });
    await use(new Desk(page));
    await page.context().close();
    expect(complaints).toEqual([]);
  },
});
