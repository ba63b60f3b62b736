// The main job in the page alone: a profile, a tunnel, its test, its host key; then others use it.

import { curl, freePort } from "./harness.ts";
import { serve } from "../web.ts";
import { expect, test, TUNNELS } from "./story.ts";

test("the form makes a working tunnel", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  const service = await serve("behind the bastion");
  const port = await freePort();

  await page.getByRole("link", { name: "New Tunnel" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "New Tunnel" })).toBeFocused();
  // Nothing is filled in but what the document says.
  await expect(page.getByLabel("Port", { exact: true })).toHaveValue("22");
  await expect(page.getByLabel("Bind Address")).toHaveValue("127.0.0.1");
  await expect(page.getByRole("checkbox", { name: /^Auto-start/ })).not.toBeChecked();
  await expect(page.getByRole("checkbox", { name: /^Auto-reconnect/ })).toBeChecked();
  await expect(page.getByLabel("Max retries")).toHaveValue("5");

  await page.getByLabel("Name", { exact: true }).fill("intranet");
  await page.getByLabel("SSH Host").fill("127.0.0.1");
  await page.getByLabel("Port", { exact: true }).fill(String(sshd.port));
  await page.getByRole("button", { name: "New profile" }).click();
  const profile = desk.dialog("New credential profile");
  await profile.getByLabel("Name", { exact: true }).fill("me");
  await profile.getByLabel("Username").fill(process.env.USER ?? "root");
  await profile.getByLabel("Private key").fill(sshd.key);
  await profile.getByRole("button", { name: "Create", exact: true }).click();
  await expect(profile).toBeHidden();
  // What was typed before is still there, and the new profile is chosen.
  await expect(page.getByLabel("Name", { exact: true })).toHaveValue("intranet");
  await expect(page.getByLabel("Credential Profile").locator("option:checked")).toContainText("me (");

  await page.getByLabel("Local Port").fill(String(port));
  await page.getByLabel("Remote Host").fill("127.0.0.1");
  await page.getByLabel("Remote Port").fill(String(service.port));
  await expect(page.getByTestId("sentence")).toHaveText(
    new RegExp(`^Whoever connects to 127.0.0.1:${port} on this machine reaches 127.0.0.1:${service.port}, as seen from 127.0.0.1 as `),
  );
  await page.getByRole("checkbox", { name: /^Auto-start/ }).check();
  await page.getByRole("button", { name: "Create Tunnel" }).click();

  const card = desk.card("intranet");
  await expect(card).toContainText(`L :${port} → 127.0.0.1:${service.port}`);
  await expect(card).toContainText("auto-start");
  await desk.stands("intranet", "disconnected");
  for (const name of ["Edit", "Delete"]) await expect(card.getByText(name, { exact: false }).first()).toBeVisible();

  await card.getByRole("button", { name: "Start" }).click();
  const key = desk.dialog(/^Is this/);
  await expect(key.getByTestId("shown-fingerprint")).toHaveText(await sshd.fingerprint());
  await key.getByRole("button", { name: "Accept" }).click();
  await expect(key).toBeHidden();
  // It goes on by itself.
  await desk.stands("intranet", "connected");
  await expect(card).toContainText(/Connected · \d+s/);
  expect(await curl(`http://127.0.0.1:${port}/`)).toBe("behind the bastion");
  await expect(card.getByTitle(/bytes out/)).toBeVisible();
  expect((await agent.must("GET", "/tunnels")).length).toBe(1);
  service.stop();
});

test("the form shows what each type needs, and sends nothing that others could reach", async ({ desk }) => {
  const { page } = desk;
  const asked: string[] = [];
  page.on("request", (request) => {
    if (request.method() !== "GET") asked.push(`${request.method()} ${new URL(request.url()).pathname}`);
  });
  await desk.go(`${TUNNELS}/new`);
  const type = page.getByLabel("Forward Type");
  await expect(page.getByLabel("Remote Host")).toBeVisible();
  await type.selectOption({ label: "Dynamic (-D) SOCKS5" });
  await expect(page.getByLabel("Remote Host")).toBeHidden();
  await expect(page.getByLabel("Remote Port")).toBeHidden();
  await type.selectOption({ label: "Remote (-R)" });
  await expect(page.getByLabel("Remote Port")).toBeVisible();
  await expect(page.getByLabel("Listen Address over there")).toBeVisible();
  await type.selectOption({ label: "Local (-L)" });

  // What is missing has the focus, in its order.
  await page.getByRole("button", { name: "Create Tunnel" }).click();
  await expect(page.getByLabel("Name", { exact: true })).toBeFocused();
  await expect(page.getByText("Somebody has to log in")).toBeVisible();

  for (const address of ["0.0.0.0", "::", "192.168.1.7", "localhost", "127.1", "::ffff:127.0.0.1"]) {
    await page.getByLabel("Bind Address").fill(address);
    const told = `bind_address '${address}' must be a loopback address (127.0.0.0/8 or ::1) — binding tunnels to non-loopback exposes them to the LAN with no auth`;
    await expect(page.getByText(told)).toBeVisible();
    await page.getByRole("button", { name: "Create Tunnel" }).click();
  }
  await page.getByLabel("Bind Address").fill("::1");
  await expect(page.getByText("must be a loopback address")).toBeHidden();
  expect(asked).toEqual([]);
});

test("edit opens with that tunnel, and changes it", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  const profile = await agent.addProfile(sshd);
  const port = await freePort();
  await agent.addTunnel(sshd, profile, { name: "other", local_port: await freePort() });
  const id = await agent.addTunnel(sshd, profile, {
    name: "Switch UI", forward_type: "local", local_port: port, remote_host: "10.0.0.5", remote_port: 443,
    bind_address: "::1", auto_start: true, auto_reconnect: true, max_retries: 9,
  });
  await desk.card("Switch UI").getByRole("link", { name: "Edit" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Edit Switch UI" })).toBeVisible();
  const fields = { "Name": "Switch UI", "SSH Host": "127.0.0.1", "Port": String(sshd.port), "Local Port": String(port), "Bind Address": "::1", "Remote Host": "10.0.0.5", "Remote Port": "443", "Max retries": "9" };
  for (const [label, value] of Object.entries(fields)) await expect(page.getByLabel(label, { exact: true }), label).toHaveValue(value);
  await expect(page.getByRole("checkbox", { name: /^Auto-start/ })).toBeChecked();

  await page.getByLabel("Remote Port", { exact: true }).fill("8443");
  await page.getByRole("checkbox", { name: /^Auto-start/ }).uncheck();
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Switch UI" })).toBeVisible();
  await expect(page.getByTestId("state")).toContainText(`L :${port} → 10.0.0.5:8443`);
  expect(await agent.must("GET", `/tunnels/${id}`)).toMatchObject({ remote_port: 8443, auto_start: false, bind_address: "::1", max_retries: 9 });
});

test("saving changes what was changed here, and nothing that somebody else did meanwhile", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  const id = await agent.addTunnel(sshd, await agent.addProfile(sshd), { name: "shared", local_port: await freePort() });
  await desk.go(`${TUNNELS}/${id}/edit`);
  await page.getByLabel("Name", { exact: true }).fill("mine");
  const port = await freePort();
  await agent.must("PUT", `/tunnels/${id}`, { local_port: port, max_retries: 0 });
  await expect(page.getByTestId("changed-elsewhere")).toBeVisible();
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "mine" })).toBeVisible();
  expect(await agent.must("GET", `/tunnels/${id}`)).toMatchObject({ name: "mine", local_port: port, max_retries: 0 });
});

test("what was typed stays when the tunnel is removed elsewhere", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  const id = await agent.addTunnel(sshd, await agent.addProfile(sshd), { name: "short-lived", local_port: await freePort() });
  await desk.go(`${TUNNELS}/${id}/edit`);
  await page.getByLabel("Name", { exact: true }).fill("made anew");
  await agent.must("DELETE", `/tunnels/${id}`);
  await expect(page.getByTestId("removed-elsewhere")).toBeVisible();
  await expect(page.getByLabel("Name", { exact: true })).toHaveValue("made anew");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(desk.card("made anew")).toBeVisible();
});

test("what was made elsewhere can be chosen without loading the page anew", async ({ agent, sshd, desk }) => {
  const { page } = desk;
  await desk.go(`${TUNNELS}/new`);
  const profiles = page.getByLabel("Credential Profile");
  const jumps = page.getByLabel("Jump", { exact: true });
  await expect(profiles.locator("option")).toHaveCount(1);
  const id = await agent.addProfile(sshd, "made by a program");
  // Also while the form is open.
  await expect(profiles.locator("option", { hasText: "made by a program" })).toBeAttached({ timeout: 2_000 });

  await desk.goToTunnels();
  const gate = await agent.must("POST", "/jump-hosts", { name: "gate", host: "gate.example", profile_id: id });
  await agent.must("POST", "/sessions", { name: "lab router", host: "lab.example", profile_id: id });
  await agent.must("POST", "/profiles", { name: "behind", username: "bob", auth_method: "agent", jump_host_id: gate.id });
  await desk.go(`${TUNNELS}/new`);
  await expect(jumps.locator("option")).toHaveText(["Inherit from profile", "gate", "lab router"]);
  await profiles.selectOption({ label: "behind (bob)" });
  await expect(jumps.locator("option").first()).toHaveText("Inherit from profile (gate)");
  await page.getByLabel("SSH Host").fill("db");
  await expect(page.getByTestId("sentence")).toContainText("db as bob, by way of gate");
});
