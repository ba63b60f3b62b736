// What a story has in the browser: people, each with a browser window and a machine of their own. A story that a page complains
// about fails: a violated content security policy, an error nobody caught, a dialog that a stranger's script opened.

import { expect, type Page, test as base } from "@playwright/test";

import type { Running } from "../running.ts";
import { openWindow } from "../window.ts";
import { JumpHost, Machine, visit } from "./harness.ts";

export { expect };

export const PASSWORD = "correct horse battery staple";

/** Somebody at the dashboard. */
export class Person {
  constructor(
    readonly name: string,
    readonly host: JumpHost,
    readonly page: Page,
    readonly machine: Machine,
  ) {}

  /** Follows a one-time link and chooses a password. */
  async accept(link: string): Promise<void> {
    const { page } = this;
    await page.goto(link);
    const account = page.getByLabel("Account name");
    if (await account.isEditable()) await account.fill(this.name);
    await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await page.getByRole("button", { name: "Make my account" }).click();
    await expect(page.getByRole("heading", { level: 1, name: "Reverse Tunnel" })).toBeVisible();
  }

  async signIn(password = PASSWORD): Promise<void> {
    await this.page.getByRole("textbox", { name: "Account" }).fill(this.name);
    await this.page.getByLabel("Password", { exact: true }).fill(password);
    await this.page.getByRole("button", { name: "Sign in", exact: true }).click();
  }

  /** Makes a key on the machine and saves its public half in the page. */
  async saveKey(label = "laptop"): Promise<string> {
    const key = await this.machine.makeKey();
    await this.page.getByRole("textbox", { name: "Public key" }).fill(key);
    await this.page.getByLabel("Description (optional)").fill(label);
    await this.page.getByRole("button", { name: "Save Key" }).click();
    await expect(this.page.getByTestId("key-badge")).toHaveText("CONFIGURED");
    return key;
  }

  /** Registers a port in the page; `shared` shows it to everybody in the directory. */
  async register(port: number, description: string, shared = false): Promise<void> {
    await this.page.getByRole("button", { name: "Register Port" }).click();
    const dialog = this.page.getByRole("dialog");
    await dialog.getByLabel("Port", { exact: true }).fill(String(port));
    await dialog.getByRole("textbox", { name: "Description" }).fill(description);
    if (shared) await dialog.getByLabel("Show in the directory").check();
    await dialog.getByRole("button", { name: "Register", exact: true }).click();
    await expect(dialog).toBeHidden();
  }

  /** Asks for a forward with OpenSSH's client, and returns once the server has greeted. */
  async forward(remotePort: number, localPort: number): Promise<Running> {
    const { host, machine } = this;
    const target = `-p ${host.sshPort} tunnel@${host.address}`;
    const ssh = machine.shell(`ssh -i ~/.ssh/adit_jump -R ${remotePort}:localhost:${localPort} ${target}`);
    await ssh.says(`Tunnel-only access for ${this.name}.`);
    return ssh;
  }

  /** Fills every card of the first page: a key, an entry for everybody and one for nobody, a live tunnel with a visit, a refusal. */
  async settle(localPort: number): Promise<void> {
    await this.saveKey("MacBook Pro");
    await this.register(10080, "Photos of the cat", true);
    await this.register(16667, "");
    await this.forward(10080, localPort);
    await this.forward(9999, localPort);
    await visit(this.host, 10080);
    await expect(this.page.getByTestId("refusal-9999")).toBeVisible();
  }

  /** A request as a script of the page would make it: with its cookie, its origin and the key of its session. */
  async call(method: string, route: string, body?: unknown): Promise<{ status: number; body: any }> {
    return this.page.evaluate(
      async ({ method, route, body }) => {
        const key = localStorage.getItem("adit.session-key");
        const headers = { "content-type": "application/json", ...(key === null ? {} : { "x-csrf-token": key }) };
        const answer = await fetch(`/api/v1${route}`, { method, headers, body: JSON.stringify(body) });
        return { status: answer.status, body: await answer.json().catch(() => null) };
      },
      { method, route, body },
    );
  }

  /** The cookie of the session, as a header has it. */
  async cookie(): Promise<string> {
    const [cookie, ...others] = await this.page.context().cookies();
    if (!cookie || others.length > 0) throw new Error("the session is one cookie");
    return `${cookie.name}=${cookie.value}`;
  }

  /** The key of the session, which the page keeps for its own origin. */
  async key(): Promise<string> {
    const key = await this.page.evaluate(() => localStorage.getItem("adit.session-key"));
    if (key === null) throw new Error("the page has no key");
    return key;
  }

  /** Both halves of the session, as the headers that say who asks. */
  async proof(): Promise<{ cookie: string; "x-csrf-token": string }> {
    return { cookie: await this.cookie(), "x-csrf-token": await this.key() };
  }
}

/** Milliseconds from the next click until none of the CSS selectors finds anything, by the page's clock. */
export interface Stopwatch {
  clickedAt(): Promise<number>;
  milliseconds(): Promise<number>;
}

export async function untilGone(page: Page, selectors: string[]): Promise<Stopwatch> {
  const watch = await page.evaluateHandle((selectors) => {
    const clicked = new Promise<number>((resolve) => {
      addEventListener("click", () => resolve(Date.now()), { capture: true, once: true });
    });
    const gone = new Promise<number>((resolve) => {
      const look = () => {
        if (selectors.every((selector) => document.querySelector(selector) === null)) resolve(Date.now());
      };
      new MutationObserver(look).observe(document.body, { subtree: true, childList: true });
    });
    return { clicked, gone };
  }, selectors);
  return {
    clickedAt: () => watch.evaluate(({ clicked }) => clicked),
    milliseconds: () => watch.evaluate(async ({ clicked, gone }) => (await gone) - (await clicked)),
  };
}

export interface Story {
  host: JumpHost;
  /** Somebody without an account, in front of an empty window. */
  stranger: (name: string) => Promise<Person>;
  /** Somebody who was invited, and is signed in. */
  member: (name: string) => Promise<Person>;
  /** Who followed the link that was printed at the start. */
  administrator: (name: string) => Promise<Person>;
}

interface Options {
  logged: string;
  /** Lines of the configuration file. */
  settings: string;
}

export const test = base.extend<Story & Options>({
  logged: ["info", { option: true }],
  settings: ["", { option: true }],

  host: async ({ logged, settings }, use, testInfo) => {
    const host = await JumpHost.start({ logged, settings });
    await use(host);
    if (testInfo.status !== testInfo.expectedStatus) await testInfo.attach("server.log", { body: host.log });
    await host.stop();
  },

  stranger: async ({ host, browser }, use) => {
    const people: Person[] = [];
    const complaints: string[] = [];
    await use(async (name) => {
      const page = await openWindow(browser, complaints);
      const person = new Person(name, host, page, await Machine.make(host.folder, name));
      people.push(person);
      return person;
    });
    for (const { page, machine } of people) {
      await page.context().close();
      await machine.stop();
    }
    expect(complaints).toEqual([]);
  },

  member: async ({ host, stranger }, use) => {
    await use(async (name) => {
      const person = await stranger(name);
      const { url } = await host.admin("invite", "--account", name);
      await person.accept(url);
      return person;
    });
  },

  administrator: async ({ host, stranger }, use) => {
    await use(async (name) => {
      const person = await stranger(name);
      await person.accept(host.firstAdministratorLink);
      return person;
    });
  },
});
