// The page shows what is: within a second while the agent tells, within five while it is asked, and nothing it cannot know.

import { type Agent, curl, freePort, hold, listens } from "./harness.ts";
import { ownAddress } from "../running.ts";
import { serve } from "../web.ts";
import { expect, test } from "./story.ts";

async function active(agent: Agent): Promise<number> {
  const all = await agent.must("GET", "/tunnels/status");
  return all.filter(({ status }: { status: string }) => status === "connected" || status === "connecting").length;
}

/** What the page promises between a change and its sight. */
const SEEN_WITHIN = 1_000;

test("what the command line does is seen within a second", async ({ agent, sshd, desk }) => {
  await agent.acceptNewHosts();
  await agent.addProfile(sshd);
  const port = await freePort();
  await agent.adit("tunnel", "add", "proxy", "--via", `127.0.0.1:${sshd.port}`, "--profile", "me", "-D", String(port));
  await expect(desk.card("proxy")).toBeVisible({ timeout: SEEN_WITHIN });
  await agent.adit("tunnel", "start", "proxy");
  await desk.stands("proxy", "connected", SEEN_WITHIN);
  await agent.adit("tunnel", "edit", "proxy", "--name", "renamed");
  await desk.stands("renamed", "connected", SEEN_WITHIN);
  await agent.adit("tunnel", "remove", "renamed");
  await expect(desk.card("renamed")).toHaveCount(0, { timeout: SEEN_WITHIN });
});

test("all of them start, reconnect and stop at once, but those that are disabled", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  await agent.acceptNewHosts();
  const profile = await agent.addProfile(sshd);
  const ports = [await freePort(), await freePort(), await freePort()];
  for (const [index, port] of ports.entries()) {
    await agent.addTunnel(sshd, profile, { name: `number ${index}`, local_port: port, enabled: index < 2 });
  }
  await page.getByRole("button", { name: "Start all" }).click();
  await expect(page.getByText("2 started.")).toBeVisible();
  for (const [index, status] of ["connected", "connected", "disconnected"].entries()) await desk.stands(`number ${index}`, status);
  await expect(page.getByRole("button", { name: /^Active/ })).toHaveText("Active 2");
  const logins = async () => (await agent.must("GET", "/tunnels/log")).filter(({ status }: { status: string }) => status === "connected").length;
  const before = await logins();
  await page.getByRole("button", { name: "Reconnect all" }).click();
  await expect.poll(logins).toBe(before + 2);
  for (const index of [0, 1]) await desk.stands(`number ${index}`, "connected");
  await page.getByRole("button", { name: "Stop all" }).click();
  await expect(page.getByText("2 tunnels stopped.")).toBeVisible();
  for (const port of ports) expect(await listens(port)).toBe(false);
  await page.getByRole("button", { name: /^Stopped/ }).click();
  await expect(page.locator("[data-testid^=card-]")).toHaveCount(3);
});

test("stopping ends a round of starts, and 200 tunnels hold nobody up", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  await agent.acceptNewHosts();
  const profile = await agent.addProfile(sshd);
  // So many ports that nobody holds for seconds are taken by others, but not at an address of our own.
  const bind_address = ownAddress();
  for (let number = 0; number < 200; number += 1) {
    await agent.addTunnel(sshd, profile, { name: `number ${number}`, local_port: 20_000 + number, bind_address });
  }
  await expect(page.locator("[data-testid^=card-]")).toHaveCount(200);
  let lists = 0;
  page.on("request", (request) => (lists += request.method() === "GET" ? 1 : 0));
  await page.getByRole("button", { name: "Start all" }).click();
  await expect.poll(() => active(agent)).toBeGreaterThan(5);
  await page.getByRole("button", { name: "Stop all" }).click();
  await expect(page.getByText(/tunnels? stopped\.$/)).toBeVisible();
  await expect.poll(() => active(agent)).toBe(0);
  await expect(page.getByRole("button", { name: /^Active/ })).toHaveText("Active 0");
  await page.getByRole("button", { name: "Start all" }).click();
  await expect(page.getByText("200 started.")).toBeVisible({ timeout: 30_000 });
  await expect(page.getByRole("button", { name: /^Active/ })).toHaveText("Active 200");
  // How things stand is told, not asked for.
  expect(lists).toBeLessThan(100);
});

test("without the stream it asks every five seconds", async ({ agent, sshd, stranger }) => {
  const desk = await stranger();
  await desk.page.route("**/events", (route) => route.fulfill({ status: 429, json: { error: "too many", code: "TOO_MANY_STREAMS" } }));
  await desk.enter();
  await agent.acceptNewHosts();
  const id = await agent.addTunnel(sshd, await agent.addProfile(sshd), { name: "proxy", local_port: await freePort() });
  await desk.stands("proxy", "disconnected", 7_000);
  await expect(desk.page.getByTestId("no-stream")).toBeVisible();
  await agent.must("POST", `/tunnels/${id}/start`);
  await desk.stands("proxy", "connected", 7_000);
  await desk.page.unroute("**/events");
  await expect(desk.page.getByTestId("no-stream")).toBeHidden({ timeout: 7_000 });
});

test("a lost connection says which retry, and comes back", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  await agent.acceptNewHosts();
  const id = await agent.addTunnel(sshd, await agent.addProfile(sshd), { name: "proxy", local_port: await freePort() });
  await agent.must("POST", `/tunnels/${id}/start`);
  await desk.stands("proxy", "connected");
  await sshd.kill();
  await desk.stands("proxy", "reconnecting");
  await desk.openPopover();
  await expect(desk.row("proxy")).toContainText(/retry [1-5]/);
  await expect(desk.row("proxy").getByRole("switch")).toBeChecked();
  await expect(desk.card("proxy")).toContainText(/retry [1-5]/);
  await expect(desk.card("proxy").getByTestId("last-error")).toHaveText(/\S/);
  // Its whole text is there on hover.
  const error = desk.card("proxy").getByTestId("last-error").locator("bdi");
  expect(await error.getAttribute("title")).toBe(await error.textContent());
  await sshd.startAgain();
  await desk.stands("proxy", "connected", 20_000);
  await page.keyboard.press("Escape");

  // The page of the tunnel remembers it, with the reason.
  await desk.card("proxy").getByRole("link", { name: "proxy", exact: true }).click();
  const stretches = page.getByTestId("stretch");
  await expect(stretches.first()).toContainText("Connected");
  await expect(stretches.nth(1)).toContainText("Reconnecting");
  await expect(stretches.nth(1).locator(".reason")).toHaveText(/\S/);
});

for (const [how, signal] of [["killed", "SIGKILL"], ["frozen", "SIGSTOP"]] as const) {
  test(`an agent that is ${how} leaves a banner and no green dot`, async ({ agent, sshd, desk }) => {
    const { page } = desk;
    await agent.acceptNewHosts();
    const id = await agent.addTunnel(sshd, await agent.addProfile(sshd), { name: "proxy", local_port: await freePort(), auto_start: true });
    await agent.must("POST", `/tunnels/${id}/start`);
    await desk.stands("proxy", "connected");
    await desk.openPopover();
    await expect(page.locator(".dot.live")).toHaveCount(2);

    agent.signal(signal);
    // A killed one is gone with its connection; a frozen one by its silence.
    await expect(page.getByTestId("agent-gone")).toBeVisible({ timeout: signal === "SIGKILL" ? 2_000 : 15_000 });
    await expect(page.locator(".dot.live")).toHaveCount(0);
    await expect(desk.row("proxy").locator("[data-status]")).toHaveAttribute("data-status", "unknown");
    await expect(desk.row("proxy").getByRole("switch")).not.toBeChecked();
    await expect(desk.tunnelsButton.locator(".count")).toHaveCount(0);
    await expect(page.getByText("agent gone")).toBeVisible();

    if (signal === "SIGKILL") {
      await agent.kill();
      await agent.startAgain();
    } else agent.signal("SIGCONT");
    await expect(page.getByTestId("agent-gone")).toBeHidden({ timeout: 15_000 });
    await desk.stands("proxy", "connected", 15_000);
  });
}

test("a tunnel’s page shows who is connected, closes them, and has the same as commands", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  await agent.acceptNewHosts();
  const [held, service] = [await hold(), await serve("by command")];
  const profile = await agent.addProfile(sshd);
  const port = await freePort();
  const id = await agent.addTunnel(sshd, profile, {
    name: "db", forward_type: "local", local_port: port, remote_host: "127.0.0.1", remote_port: held.port,
  });
  await agent.must("POST", `/tunnels/${id}/start`);
  await desk.card("db").getByRole("link", { name: "db", exact: true }).click();
  await expect(page.getByRole("heading", { level: 1, name: "db" })).toBeVisible();
  await expect(page.getByText("Nobody is connected.")).toBeVisible();

  const { createConnection } = await import("node:net");
  const visitors = [createConnection(port, "127.0.0.1"), createConnection(port, "127.0.0.1")];
  for (const visitor of visitors) visitor.on("error", () => undefined);
  const rows = page.getByTestId("connection");
  await expect(rows).toHaveCount(2);
  await expect(rows.first()).toContainText(`127.0.0.1:${held.port}`);
  const own = `127.0.0.1:${visitors[1]?.localPort}`;
  visitors[1]?.write("x".repeat(1_000));
  await expect(rows.filter({ hasText: own })).toContainText("1.0 kB");
  await rows.filter({ hasText: own }).getByRole("button", { name: /^Close/ }).click();
  await expect(rows).toHaveCount(1);
  await expect.poll(() => visitors[1]?.destroyed || visitors[1]?.readableEnded).toBe(true);
  await expect.poll(() => held.held.size).toBe(1);

  // The commands do the same elsewhere: here, beside the agent, at another port.
  const other = await freePort();
  const command = (await page.getByTestId("command-adit").innerText())
    .replace(`:${port}:`, `:${other}:`)
    .replace(`:${held.port}`, `:${service.port}`);
  const words = command.split(" ").slice(1);
  const running = agent.start(...words);
  await running.says(String(other));
  await expect.poll(() => curl(`http://127.0.0.1:${other}/`).catch(() => "")).toBe("by command");
  await running.stop();

  await page.getByRole("tab", { name: "As ssh" }).click();
  const ssh = (await page.getByTestId("command-ssh").innerText()).replace(`:${port}:`, `:${other}:`).replace(`:${held.port}`, `:${service.port}`);
  const client = agent.ssh(...ssh.split(" ").slice(1));
  await expect.poll(() => curl(`http://127.0.0.1:${other}/`).catch(() => ""), { timeout: 10_000 }).toBe("by command");
  await client.stop();
  for (const visitor of visitors) visitor.destroy();
  held.stop();
  service.stop();
});
