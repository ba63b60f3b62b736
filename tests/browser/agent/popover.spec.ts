// The status bar and its popover, rule by rule: the badge, the groups, the search, the toggle, the menu, and what closes what.

import type { Agent, Sshd } from "./harness.ts";
import { freePort, listens } from "./harness.ts";
import { expect, test, TUNNELS } from "./story.ts";

/** A tunnel that comes up, one that is stopped, and one that cannot log in. */
async function three(agent: Agent, sshd: Sshd) {
  await agent.acceptNewHosts();
  const profile = await agent.addProfile(sshd);
  const nobody = await agent.must("POST", "/profiles", { name: "nobody", username: "nobody-here", auth_method: "key", key_path: sshd.key });
  const [up, down, broken] = [await freePort(), await freePort(), await freePort()];
  const local = { forward_type: "local", remote_host: "10.0.0.5", remote_port: 443 };
  const ids = {
    up: await agent.addTunnel(sshd, profile, { name: "Alpha proxy", local_port: up }),
    down: await agent.addTunnel(sshd, profile, { name: "Beta switch", local_port: down, bind_address: "::1", ...local }),
    broken: await agent.addTunnel(sshd, nobody.id, { name: "Gamma", local_port: broken, auto_reconnect: false }),
  };
  return { profile, ids, ports: { up, down, broken } };
}

test("the badge counts the active, or the failed in the colour of errors", async ({ agent, sshd, desk }) => {
  const { ids } = await three(agent, sshd);
  const badge = desk.tunnelsButton.locator(".count");
  await expect(desk.card("Gamma")).toBeVisible();
  await expect(badge).toHaveCount(0);
  await agent.must("POST", `/tunnels/${ids.up}/start`);
  await expect(badge).toHaveText("1");
  await expect(badge).not.toHaveClass(/failed/);
  await expect(desk.tunnelsButton).toHaveAccessibleName("Tunnels 1 active");
  await agent.must("POST", `/tunnels/${ids.broken}/start`);
  await expect(badge).toHaveClass(/failed/);
  await expect(badge).toHaveText("1");
  await expect(desk.tunnelsButton).toHaveAccessibleName("Tunnels 1 failed");
  // Also when nothing is active.
  await agent.must("POST", `/tunnels/${ids.up}/stop`);
  await desk.stands("Alpha proxy", "disconnected");
  await expect(badge).toHaveClass(/failed/);
  await expect(badge).toHaveText("1");
});

test("rows say what there is, and the search narrows them", async ({ agent, sshd, desk }) => {
  const { ids, ports } = await three(agent, sshd);
  await agent.must("POST", `/tunnels/${ids.up}/start`);
  const popover = await desk.openPopover();
  const search = popover.getByRole("searchbox");
  await expect(search).toBeFocused();
  const row = desk.row("Alpha proxy");
  await expect(row.locator("[data-status]")).toHaveAttribute("data-status", "connected");
  await expect(row).toContainText(`D :${ports.up} SOCKS5`);
  await expect(row).toContainText("via 127.0.0.1");
  await expect(row.locator(".uptime")).toHaveText(/^\d+s$/);
  await expect(desk.row("Beta switch")).toContainText(`L :${ports.down} → 10.0.0.5:443`);
  await expect(popover.getByRole("heading", { name: "Tunnels", exact: true })).toBeVisible();

  for (const [sought, found] of [
    ["beta", ["Beta switch"]],
    ["10.0.0.5", ["Beta switch"]],
    [String(ports.up), ["Alpha proxy"]],
    ["socks", ["Alpha proxy", "Gamma"]],
    ["-> 10", ["Beta switch"]],
    ["nothing of it", []],
  ] as const) {
    await search.fill(sought);
    await expect(popover.locator("a[data-tunnel]"), sought).toHaveText([...found]);
  }
  await expect(popover).toContainText("Nothing fits “nothing of it”.");
});

test("the toggle stops what is active, and starts the rest", async ({ agent, sshd, desk }) => {
  const { ids, ports } = await three(agent, sshd);
  await desk.openPopover();
  const toggle = desk.row("Alpha proxy").getByRole("switch", { name: "Alpha proxy" });
  await expect(toggle).not.toBeChecked();
  await toggle.click();
  await expect(toggle).toBeChecked();
  await expect.poll(() => agent.status(ids.up)).toBe("connected");
  await toggle.click();
  await expect(toggle).not.toBeChecked();
  await expect.poll(() => agent.status(ids.up)).toBe("disconnected");
  expect(await listens(ports.up)).toBe(false);
  // A start that is refused says why, in the row.
  const holder = await import("node:net").then(({ createServer }) => createServer().listen(ports.up, "127.0.0.1"));
  await toggle.click();
  await expect(desk.row("Alpha proxy").getByRole("alert")).toContainText(`${ports.up}`);
  await expect(toggle).not.toBeChecked();
  holder.close();
});

test("the menu offers what makes sense, and does it", async ({ agent, sshd, desk }) => {
  const { ids, ports } = await three(agent, sshd);
  const { page } = desk;
  await agent.must("POST", `/tunnels/${ids.up}/start`);
  await agent.must("POST", `/tunnels/${ids.broken}/start`);
  await desk.stands("Gamma", "failed");
  await desk.openPopover();
  const items = desk.menu.getByRole("menuitem");

  await desk.row("Alpha proxy").click({ button: "right" });
  await expect(items).toHaveText(["Pause", "Copy local address", "Edit"]);
  await expect(items.first()).toBeFocused();
  await items.filter({ hasText: "Copy local address" }).click();
  await expect(desk.menu).toBeHidden();
  await expect(page.getByText(`Copied 127.0.0.1:${ports.up}`)).toBeVisible();
  expect(await desk.clipboard()).toBe(`127.0.0.1:${ports.up}`);

  for (const name of ["Beta switch", "Gamma"]) {
    await desk.row(name).click({ button: "right" });
    await expect(items).toHaveText(["Reconnect", "Copy local address", "Edit"]);
    await page.keyboard.press("Escape");
  }
  await desk.row("Beta switch").click({ button: "right" });
  await items.filter({ hasText: "Copy local address" }).click();
  await expect(page.getByText(`Copied [::1]:${ports.down}`)).toBeVisible();
  expect(await desk.clipboard()).toBe(`[::1]:${ports.down}`);

  await desk.row("Alpha proxy").click({ button: "right" });
  await items.filter({ hasText: "Pause" }).click();
  await expect.poll(() => agent.status(ids.up)).toBe("disconnected");
  await desk.row("Beta switch").click({ button: "right" });
  await items.filter({ hasText: "Reconnect" }).click();
  await expect.poll(() => agent.status(ids.down)).toBe("connected");

  await desk.row("Beta switch").click({ button: "right" });
  await items.filter({ hasText: "Edit" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Edit Beta switch" })).toBeVisible();
  await expect(page.getByLabel("Local Port")).toHaveValue(String(ports.down));
  await expect(desk.popover).toBeHidden();
});

test("Esc closes the menu, then the popover; a click elsewhere closes it", async ({ agent, sshd, desk }) => {
  await three(agent, sshd);
  const { page } = desk;
  await desk.openPopover();
  await desk.row("Gamma").click({ button: "right" });
  await expect(desk.menu).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(desk.menu).toBeHidden();
  await expect(desk.popover).toBeVisible();
  await expect(desk.row("Gamma").getByRole("link")).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(desk.popover).toBeHidden();
  await expect(desk.tunnelsButton).toBeFocused();

  // From the search too.
  await desk.openPopover();
  await desk.popover.getByRole("searchbox").fill("gam");
  await page.keyboard.press("Escape");
  await expect(desk.popover).toBeHidden();

  await desk.openPopover();
  await desk.row("Gamma").click({ button: "right" });
  await page.getByRole("heading", { level: 1 }).click();
  await expect(desk.menu).toBeHidden();
  await expect(desk.popover).toBeHidden();

  // Inside the popover a click closes the menu alone.
  await desk.openPopover();
  await desk.row("Gamma").click({ button: "right" });
  await desk.popover.getByRole("heading", { name: "Tunnels", exact: true }).click();
  await expect(desk.menu).toBeHidden();
  await expect(desk.popover).toBeVisible();
  await desk.tunnelsButton.click();
  await expect(desk.popover).toBeHidden();

  await desk.openPopover();
  await desk.popover.getByRole("link", { name: "Manage Tunnels..." }).click();
  await expect(desk.popover).toBeHidden();
  await expect(page.getByRole("heading", { level: 1, name: "SSH Tunnels" })).toBeVisible();
  expect(new URL(page.url()).hash).toBe(`#${TUNNELS}`);
});

test("session tunnels are looked at, by host, and their dots come and go", async ({ agent, sshd, desk }) => {
  await agent.acceptNewHosts();
  const { page } = desk;
  const profile = await agent.addProfile(sshd);
  const [proxy, web] = [await freePort(), await freePort()];
  await agent.must("POST", "/sessions", {
    name: "lab", host: "127.0.0.1", port: sshd.port, profile_id: profile,
    forwards: [
      { forward_type: "dynamic", local_port: proxy },
      { forward_type: "local", local_port: web, remote_host: "10.0.0.5", remote_port: 80 },
      { forward_type: "dynamic", local_port: await freePort(), enabled: false },
    ],
  });
  await desk.go("/settings/sessions");
  const dots = page.getByTestId("forwards").locator("[data-status]");
  await expect(dots).toHaveCount(0);
  await page.getByRole("button", { name: "Connect lab" }).click();
  await expect(dots).toHaveCount(2);
  await expect(page.getByTestId("forwards")).toContainText("fwd");
  await expect(dots.first()).toHaveAttribute("data-status", "connected");
  const tooltips = await dots.evaluateAll((all) => all.map((dot) => dot.getAttribute("title")));
  expect(tooltips.sort()).toEqual([`D :${proxy} SOCKS5 · Connected`, `L :${web} → 10.0.0.5:80 · Connected`]);

  const popover = await desk.openPopover();
  await expect(popover.getByRole("heading", { name: "Session Tunnels" })).toBeVisible();
  await expect(popover.getByRole("heading", { name: "127.0.0.1" })).toBeVisible();
  const rows = popover.getByTestId("session-row");
  await expect(rows).toHaveCount(2);
  await expect(rows.filter({ hasText: `Session forward :${proxy}` })).toContainText(`D :${proxy} SOCKS5`);
  // Read-only: no switch, no menu.
  await expect(rows.getByRole("switch")).toHaveCount(0);
  await rows.first().click({ button: "right" });
  await rows.first().getByRole("link").press("Shift+F10");
  await expect(desk.menu).toHaveCount(0);
  await page.keyboard.press("Escape");
  await popover.waitFor({ state: "hidden" });

  await page.getByRole("button", { name: "Disconnect lab" }).click();
  await expect(dots).toHaveCount(0, { timeout: 2_000 });
  expect(await listens(proxy)).toBe(false);
});

test("in controller mode there is neither the button nor a choice of a jump", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  await agent.addProfile(sshd);
  await desk.go("/settings/general");
  await page.getByRole("checkbox", { name: /^A controller is the way out/ }).check();
  await expect(desk.tunnelsButton).toHaveCount(0);
  await desk.go(`${TUNNELS}/new`);
  await expect(page.getByLabel("SSH Host")).toBeVisible();
  await expect(page.getByLabel("Jump", { exact: true })).toHaveCount(0);
  // It is the agent's, so another window has it too; and it goes again.
  await agent.must("PUT", "/settings", { controller_mode: false });
  await expect(desk.tunnelsButton).toBeVisible({ timeout: 2_000 });
  await expect(page.getByLabel("Jump", { exact: true })).toBeVisible();
});
