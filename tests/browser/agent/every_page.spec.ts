// Every address of the agent's pages, in each state that looks different, as axe judges it and without anything to scroll sideways.

import net from "node:net";

import { DOOR, type PagePath, PAGES } from "../../../web/src/agent/places.ts";
import { judge, PHONE, WIDE } from "../judge.ts";
import { curl, freePort } from "./harness.ts";
import { type Desk, expect, type Story, test } from "./story.ts";
import { settle } from "./settled.ts";

/** Of every list of the menu; one without a title here fails. */
const TITLES: Record<PagePath, string> = {
  "/settings/ssh-tunnels": "SSH Tunnels",
  "/settings/sessions": "Sessions",
  "/settings/profiles": "Credential Profiles",
  "/settings/jump-hosts": "Jump Hosts",
  "/settings/import": "Import",
  "/settings/general": "General",
};

async function heading({ page }: Desk, name: string): Promise<void> {
  await expect(page.getByRole("heading", { level: 1, name })).toBeVisible();
}

async function door({ agent, stranger }: Story): Promise<void> {
  const desk = await stranger();
  const { page } = desk;
  await page.goto(agent.url);
  await heading(desk, "Open the agent");
  await judge(page, "agent-enter");
  await page.goto(`${agent.url}/#${DOOR}?code=${"0".repeat(64)}`);
  await expect(page.getByRole("status").filter({ hasText: "adit open" })).toBeVisible();
  await judge(page, "agent-enter-old-code");
  await page.getByRole("textbox", { name: "The agent’s token" }).fill("wrong");
  await page.getByRole("button", { name: "Open", exact: true }).click();
  await expect(page.getByRole("alert")).toBeVisible();
  await judge(page, "agent-enter-wrong-token");
}

async function tunnels(story: Story): Promise<void> {
  const { agent, desk, sshd } = story;
  const { page } = desk;
  await expect(page.getByText("There are no tunnels yet.")).toBeVisible();
  await judge(page, "agent-tunnels-empty");
  await desk.openPopover();
  await judge(page, "agent-popover-empty");
  await page.keyboard.press("Escape");

  await settle(story);
  await judge(page, "agent-tunnels");
  await page.getByRole("button", { name: /^Failed/ }).click();
  await expect(page.locator("[data-testid^=card-]")).toHaveCount(1);
  await judge(page, "agent-tunnels-filtered");
  await page.getByRole("button", { name: /^Auto-start/ }).click();
  await page.locator("main").getByRole("searchbox").fill("nothing of it");
  await expect(page.getByText("Nothing fits.")).toBeVisible();
  await judge(page, "agent-tunnels-no-match");

  await desk.openPopover();
  await judge(page, "agent-popover");
  // It closes when the window changes its size, so each size has its own.
  for (const viewport of [PHONE, WIDE]) {
    await page.setViewportSize(viewport);
    await desk.row("Switch UI").click({ button: "right" });
    await expect(desk.menu).toBeVisible();
    await judge(page, "agent-menu", [viewport]);
  }
  await page.keyboard.press("Escape");
  await desk.popover.getByRole("searchbox").fill("nothing");
  await judge(page, "agent-popover-no-match");
  await page.keyboard.press("Escape");

  await desk.go("/settings/ssh-tunnels/new");
  await heading(desk, "New Tunnel");
  await judge(page, "agent-new-tunnel");
  await page.getByLabel("Bind Address").fill("0.0.0.0");
  await page.getByRole("button", { name: "Create Tunnel" }).click();
  await expect(page.getByText("must be a loopback address")).toBeVisible();
  await judge(page, "agent-new-tunnel-refused");
  for (const kind of ["dynamic", "remote"]) {
    await page.getByLabel("Forward Type").selectOption(kind);
    await judge(page, `agent-new-tunnel-${kind}`);
  }

  await sshd.kill();
  const [lost] = (await agent.must("GET", "/tunnels")).filter(({ name }: { name: string }) => name === "Switch UI");
  await desk.go(`/settings/ssh-tunnels/${lost.id}/edit`);
  await heading(desk, "Edit Switch UI");
  await judge(page, "agent-edit-tunnel");
  await desk.goToTunnels();
  await desk.stands("Switch UI", "reconnecting", 20_000);
  await judge(page, "agent-tunnels-reconnecting");
  await agent.kill();
  await expect(page.getByTestId("agent-gone")).toBeVisible();
  await judge(page, "agent-gone");
}

async function tunnel(story: Story): Promise<void> {
  const { agent, desk } = story;
  const { page } = desk;
  const { ids, ports, service } = await settle(story);
  await curl(`http://127.0.0.1:${ports.web}/`);
  // One that asks nothing yet.
  const visitor = net.connect(ports.web, "127.0.0.1");
  await desk.go(`/settings/ssh-tunnels/${ids.web}`);
  await heading(desk, "Switch UI");
  await expect(page.getByTestId("connection")).toHaveCount(1);
  await judge(page, "agent-tunnel");
  await page.getByRole("tab", { name: "As ssh" }).click();
  await judge(page, "agent-tunnel-as-ssh");
  await desk.go(`/settings/ssh-tunnels/${ids.broken}`);
  await heading(desk, "Broken");
  await judge(page, "agent-tunnel-failed");
  const [ofSession] = (await agent.must("GET", "/tunnels")).filter(({ id }: { id: string }) => id.startsWith("session:"));
  await desk.go(`/settings/ssh-tunnels/${encodeURIComponent(ofSession.id)}`);
  await heading(desk, "Session forward");
  await judge(page, "agent-session-tunnel");
  await desk.go("/settings/ssh-tunnels/nobody");
  await heading(desk, "There is nothing here");
  await judge(page, "agent-not-found");
  visitor.destroy();
  service.stop();
}

async function records(story: Story): Promise<void> {
  const { desk } = story;
  const { page } = desk;
  const all = async (state: string) => {
    for (const path of PAGES) {
      await desk.go(path);
      await heading(desk, TITLES[path]);
      await judge(page, `agent-${path.split("/").at(-1)}${state}`);
    }
  };
  await all("-empty");
  const { service } = await settle(story);
  await all("");
  await desk.go("/settings/import");
  await page.getByRole("button", { name: "Choose all" }).click();
  await page.getByRole("button", { name: /^Import \d/ }).click();
  await expect(page.getByRole("heading", { name: "What became of them" })).toBeVisible();
  await judge(page, "agent-imported");
  service.stop();
}

async function waiting(story: Story): Promise<void> {
  const { agent, desk, sshd } = story;
  const { page } = desk;
  await agent.must("PUT", "/settings", { host_key_policy: "ask" });
  const profile = await agent.must("POST", "/profiles", { name: "with password", username: "nobody", auth_method: "password", password: "kept" });
  await agent.must("PUT", "/secrets/key", { key: "passphrase", passphrase: "open sesame" });
  const key = await agent.addProfile(sshd);
  const id = await agent.addTunnel(sshd, key, { name: "proxy", local_port: await freePort() });
  await agent.must("POST", `/tunnels/${id}/start`);
  await expect(page.getByTestId("host-keys-wait")).toBeVisible();
  await judge(page, "agent-host-key-waits");
  await agent.kill();
  await agent.startAgain();
  await expect(page.getByTestId("secrets-locked")).toBeVisible({ timeout: 15_000 });
  await desk.go("/settings/general");
  await expect(page.getByRole("textbox", { name: "Passphrase of the secrets" })).toBeVisible();
  await judge(page, "agent-secrets-locked");
  expect(profile.has_password).toBe(true);

  await page.route("**/tunnels", (route) => route.fulfill({ status: 500, json: { error: "the store cannot be read", code: "INTERNAL" } }));
  await page.reload();
  await expect(page.getByRole("alert")).toContainText("the store cannot be read");
  await judge(page, "agent-broken-store");
}

const STORIES = { door, tunnels, tunnel, records, waiting };

for (const [name, story] of Object.entries(STORIES)) {
  test(`pages: ${name}`, async ({ agent, sshd, desk, stranger }) => {
    test.setTimeout(150_000);
    await story({ agent, sshd, desk, stranger });
  });
}
