// With nothing but a keyboard: into the page, a profile, a tunnel, its host key; then the lists and the popover by their keys.

import { userInfo } from "node:os";

import type { Page } from "@playwright/test";

import { curl, freePort } from "./harness.ts";
import { serve } from "../web.ts";
import { tabTo } from "../window.ts";
import { type Desk, expect, test } from "./story.ts";

for (const colorScheme of ["light", "dark"] as const) {
  test(`the main job by keyboard alone, ${colorScheme}`, async ({ agent, sshd, stranger }) => {
    const desk = await stranger();
    const { page } = desk;
    const { keyboard } = page;
    await page.emulateMedia({ colorScheme });
    const service = await serve("typed");
    const port = await freePort();
    await page.goto(agent.url);
    await tabTo(page.getByRole("textbox", { name: "The agent’s token" }));
    await keyboard.insertText(await agent.token());
    await keyboard.press("Enter");
    await expect(page.getByRole("heading", { level: 1, name: "SSH Tunnels" })).toBeVisible();

    await keyboard.press("n");
    await expect(page.getByRole("heading", { level: 1, name: "New Tunnel" })).toBeVisible();
    await tabTo(page.getByLabel("Name", { exact: true }));
    await keyboard.type("typed");
    await tabTo(page.getByLabel("SSH Host"));
    await keyboard.type("127.0.0.1");
    await keyboard.press("Tab");
    await keyboard.press("ControlOrMeta+a");
    await keyboard.type(String(sshd.port));
    await tabTo(page.getByRole("button", { name: "New profile" }));
    await keyboard.press("Enter");
    const profile = desk.dialog("New credential profile");
    await expect(profile.getByLabel("Name", { exact: true })).toBeFocused();
    await keyboard.type("me");
    await tabTo(profile.getByLabel("Username"));
    await keyboard.type(userInfo().username);
    await tabTo(profile.getByLabel("Private key"));
    await keyboard.press("ControlOrMeta+a");
    await keyboard.type(sshd.key);
    await keyboard.press("Enter");
    await expect(profile).toBeHidden();
    await expect(page.getByRole("button", { name: "New profile" })).toBeFocused();
    await tabTo(page.getByLabel("Local Port"));
    await keyboard.type(String(port));
    await tabTo(page.getByLabel("Remote Host"));
    await keyboard.type("127.0.0.1");
    await tabTo(page.getByLabel("Remote Port"));
    await keyboard.type(String(service.port));
    await keyboard.press("Enter");
    await expect(desk.card("typed")).toBeVisible();

    await tabTo(desk.card("typed").getByRole("link", { name: "typed", exact: true }));
    await keyboard.press("Space");
    const key = desk.dialog(/^Is this/);
    await expect(key.getByRole("button", { name: "Reject" })).toBeFocused();
    await expect(key.getByRole("button", { name: "Accept" })).toBeEnabled();
    await keyboard.press("Shift+Tab");
    await expect(key.getByRole("button", { name: "Accept" })).toBeFocused();
    await keyboard.press("Enter");
    await desk.stands("typed", "connected");
    expect(await curl(`http://127.0.0.1:${port}/`)).toBe("typed");
    service.stop();
  });
}

/** The name of the tunnel that has the focus. */
async function focused(page: Page): Promise<string | null> {
  return page.evaluate(() => document.activeElement?.closest("a[data-tunnel]")?.textContent?.trim() ?? null);
}

async function four({ agent, sshd, desk }: { agent: Desk["agent"]; sshd: Parameters<Desk["agent"]["addProfile"]>[0]; desk: Desk }) {
  await agent.acceptNewHosts();
  const profile = await agent.addProfile(sshd);
  const ids: string[] = [];
  for (const name of ["alpha", "beta", "delta", "gamma"]) {
    ids.push(await agent.addTunnel(sshd, profile, { name, local_port: await freePort() }));
  }
  await expect(desk.card("gamma")).toBeVisible();
  return ids;
}

for (const where of ["the list", "the popover"] as const) {
  test(`the keys of ${where}`, async ({ agent, sshd, desk }) => {
    const { page } = desk;
    const { keyboard } = page;
    const ids = await four({ agent, sshd, desk });
    if (where === "the popover") {
      await desk.tunnelsButton.press("Enter");
      await expect(desk.popover.getByRole("searchbox")).toBeFocused();
      await keyboard.press("ArrowDown");
    } else await desk.card("alpha").getByRole("link", { name: "alpha", exact: true }).focus();

    expect(await focused(page)).toBe("alpha");
    await keyboard.press("ArrowDown");
    expect(await focused(page)).toBe("beta");
    await keyboard.press("End");
    expect(await focused(page)).toBe("gamma");
    await keyboard.press("ArrowDown");
    expect(await focused(page)).toBe("gamma");
    await keyboard.press("Home");
    await keyboard.press("ArrowUp");
    expect(await focused(page)).toBe("alpha");

    const [alpha = ""] = ids;
    await keyboard.press("Space");
    await expect.poll(() => agent.status(alpha)).toBe("connected");
    const log = async () => (await agent.must("GET", "/tunnels/log")).filter((entry: { tunnel_id: string }) => entry.tunnel_id === alpha).length;
    const before = await log();
    await keyboard.press("r");
    await expect.poll(log).toBeGreaterThan(before);
    await expect.poll(() => agent.status(alpha)).toBe("connected");
    await desk.stands("alpha", "connected");
    await keyboard.press("c");
    await expect.poll(() => desk.clipboard()).toMatch(/^127\.0\.0\.1:\d+$/);
    await keyboard.press("Shift+F10");
    await expect(desk.menu.getByRole("menuitem").first()).toBeFocused();
    await keyboard.press("ArrowDown");
    await expect(desk.menu.getByRole("menuitem", { name: "Copy local address" })).toBeFocused();
    await keyboard.press("ArrowUp");
    await keyboard.press("ArrowUp");
    await expect(desk.menu.getByRole("menuitem", { name: "Edit" })).toBeFocused();
    await keyboard.press("Escape");
    await expect(desk.menu).toBeHidden();
    expect(await focused(page)).toBe("alpha");
    await keyboard.press("Space");
    await expect.poll(() => agent.status(alpha)).toBe("disconnected");
    if (where === "the popover") await expect(desk.popover).toBeVisible();
    await keyboard.press("Enter");
    await expect(page.getByRole("heading", { level: 1, name: "alpha" })).toBeVisible();
    await expect(desk.popover).toBeHidden();
  });
}

test("the focus stays where something left, and a held key is one order", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  const { keyboard } = page;
  const [alpha = ""] = await four({ agent, sshd, desk });
  // A button that does something keeps the focus.
  await desk.card("alpha").getByRole("button", { name: "Start" }).focus();
  await keyboard.press("Enter");
  await desk.stands("alpha", "connected");
  await expect(desk.card("alpha").getByRole("button", { name: "Stop" })).toBeFocused();
  await agent.must("POST", `/tunnels/${alpha}/stop`);
  await desk.stands("alpha", "disconnected");

  // A card that leaves the list gives it to its neighbour, the last one to the heading.
  await page.getByRole("button", { name: /^Stopped/ }).click();
  await desk.card("beta").getByRole("link", { name: "beta", exact: true }).focus();
  await keyboard.press("Space");
  await expect(desk.card("beta")).toHaveCount(0);
  expect(await focused(page)).toBe("delta");

  let orders = 0;
  page.on("request", (request) => (orders += request.method() === "POST" ? 1 : 0));
  await keyboard.down("Space");
  for (let repeat = 0; repeat < 20; repeat += 1) await keyboard.down("Space");
  await keyboard.up("Space");
  await expect(desk.card("delta")).toHaveCount(0);
  expect(orders).toBe(1);
});

test("the popover's keys hold wherever its focus is", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  const { keyboard } = page;
  await four({ agent, sshd, desk });
  await desk.tunnelsButton.press("Enter");
  await keyboard.press("ArrowDown");
  await keyboard.press("/");
  await expect(desk.popover.getByRole("searchbox")).toBeFocused();
  // Beyond its end it is left, and closes.
  await desk.popover.getByRole("link", { name: "Manage Tunnels..." }).focus();
  await keyboard.press("Tab");
  await expect(desk.popover).toBeHidden();
  await desk.tunnelsButton.click();
  await desk.tunnelsButton.focus();
  await keyboard.press("Escape");
  await expect(desk.popover).toBeHidden();
});

test("the keys that work everywhere, and that they can be switched off", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  const { keyboard } = page;
  await four({ agent, sshd, desk });
  await keyboard.press("/");
  const search = page.locator("main").getByRole("searchbox");
  await expect(search).toBeFocused();
  await keyboard.type("n/?delta");
  // In a field they are letters.
  await expect(search).toHaveValue("n/?delta");
  await search.fill("delta");
  await expect(desk.card("alpha")).toHaveCount(0);
  await expect(desk.card("delta")).toBeVisible();

  await desk.go("/settings/profiles");
  await expect(page.getByRole("heading", { level: 1, name: "Credential Profiles" })).toBeFocused();
  await keyboard.press("/");
  await expect(desk.popover.getByRole("searchbox")).toBeFocused();
  await keyboard.press("Escape");
  await keyboard.press("?");
  await expect(desk.dialog("Keyboard")).toContainText("Start or stop it");
  await keyboard.press("n");
  await expect(desk.dialog("Keyboard")).toBeVisible();
  await keyboard.press("Escape");
  await expect(desk.dialog("Keyboard")).toBeHidden();
  await keyboard.press("n");
  await expect(page.getByRole("heading", { level: 1, name: "New Tunnel" })).toBeVisible();

  await desk.go("/settings/general");
  await page.getByRole("checkbox", { name: /^Keys that work everywhere/ }).uncheck();
  await page.getByRole("heading", { level: 1 }).focus();
  for (const key of ["n", "/", "?"]) await keyboard.press(key);
  await expect(desk.popover).toBeHidden();
  await expect(desk.dialog("Keyboard")).toBeHidden();
  expect(new URL(page.url()).hash).toBe("#/settings/general");
});
